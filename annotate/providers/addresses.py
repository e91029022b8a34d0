"""Decides who answers at a network address: judged by the numeric address, never by its spelling."""

from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

# Networks whose addresses contain an IPv4 address that a gateway forwards to.
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")  # RFC 8215: where the IPv4 address stands is up to the site
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, deprecated
_THIS_NETWORK = IPv4Network("0.0.0.0/8")  # Linux connects 0.0.0.0 to itself
_SITE = (  # nearby services whose addresses the standard library counts as public
    IPv4Network("168.63.129.16/32"),  # the host's own service for Azure machines
    IPv4Network("192.0.0.0/24"),  # RFC 6890, for protocols; Oracle's metadata service is at .192
)


class Reach(Enum):
    """Who answers at an address."""

    PUBLIC = "public"
    PRIVATE = "private"  # this machine, this link, this site, and a cloud's metadata services
    NOBODY = "nobody"  # multicast, reserved, unspecified: no server is there


def reach_of(address: str) -> Reach:
    """Who answers at this numeric address; an IPv6 address that contains an IPv4 address is judged by the latter.

    ValueError if the text is not an address.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        if (inner := _inner(ip)) is not None:
            return _reach_4(inner)
        return _reach_6(ip)
    return _reach_4(ip)


def _inner(ip: IPv6Address) -> IPv4Address | None:
    if ip.is_loopback or ip.is_unspecified:  # inside ::/96, but no IPv4 address
        return None
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64 or ip in _COMPATIBLE:
        return IPv4Address(ip.packed[-4:])
    return None


def _reach_4(ip: IPv4Address) -> Reach:
    if ip.is_multicast or ip.is_reserved or ip in _THIS_NETWORK:  # reserved: 240.0.0.0/4 with the broadcast address
        return Reach.NOBODY
    is_near = not ip.is_global or any(ip in network for network in _SITE)
    return Reach.PRIVATE if is_near else Reach.PUBLIC


def _reach_6(ip: IPv6Address) -> Reach:
    if ip.is_loopback or ip in _NAT64_LOCAL:  # both lie in ::/8, which counts as reserved
        return Reach.PRIVATE
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return Reach.NOBODY
    return Reach.PUBLIC if ip.is_global and not ip.is_site_local else Reach.PRIVATE
