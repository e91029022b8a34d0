import pytest

from annotate.providers.addresses import Reach, reach_of


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "104.18.6.192",
        "2606:4700::6812:7c0",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_public(address):
    assert reach_of(address) is Reach.PUBLIC


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
        "100.100.100.200", "169.254.169.254", "168.63.129.16", "192.0.0.192", "198.18.0.1", "192.0.2.1", "203.0.113.9",
        "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::1", "::127.0.0.1", "::10.0.0.1",
        "2001:0:7f00:1::1",
    ],
)  # fmt: skip
def test_private(address):
    assert reach_of(address) is Reach.PRIVATE


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "ff02::1", "::ffff:0.0.0.0",
     "64:ff9b::", "2002:e000:1::", "4000::1"],
)  # fmt: skip
def test_nobody(address):
    assert reach_of(address) is Reach.NOBODY


@pytest.mark.parametrize(
    "text", ["localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "", "1.2.3.4.5", "example.org"]
)
def test_it_takes_addresses_only(text):
    with pytest.raises(ValueError, match="address"):
        reach_of(text)
