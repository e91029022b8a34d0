"""People of the web benchmark: threads that label over HTTP, each with a session and a kept connection."""

import http.client
import json
import random
import threading
import time
import uuid
from typing import Any
from urllib.parse import urlencode, urlsplit

Times = list[float]
_TIMEOUT_SECONDS = 30.0
_AGAIN_SECONDS = 0.3  # when everything is held by others
_CSRF = "b" * 32  # any token, as long as cookie and header agree


class Crowd:
    """All simulated people and their measurements. `made` comes from web_project: slug, n_labels, people.

    `made["first"]`: the number of the first person, where others worked before.
    """

    def __init__(self, url: str, made: dict[str, Any], *, think: float, until_empty: bool, seed: int = 0) -> None:
        self.url, self.slug, self.n_labels = url, made["slug"], made["n_labels"]
        self.think, self.until_empty = think, until_empty
        self.next: Times = []
        self.submit: Times = []
        self.acknowledged: list[str] = []  # idempotency keys of the answers that the server acknowledged
        self.errors: list[str] = []
        self.n_late = 0
        self.seconds = 0.0
        self.stopped = threading.Event()
        self._measured_from = 0.0
        # Another seed makes other keys: a second crowd of the same people repeats no answer of the first.
        self._people = [
            _Person(self, f"{seed}/{number}", person)
            for number, person in enumerate(made["people"], made.get("first", 0))
        ]

    def work(self, *, warm: float, seconds: float) -> None:
        """Label for `warm` seconds that are not measured, then for `seconds`, or until no question is left."""
        began = time.perf_counter()
        self._measured_from = began + warm
        threads = [threading.Thread(target=person.work, daemon=True) for person in self._people]
        for thread in threads:
            thread.start()
        until = self._measured_from + seconds
        for thread in threads:
            if self.until_empty:
                thread.join(max(0.0, until - time.perf_counter()))
        if not self.until_empty:
            time.sleep(max(0.0, until - time.perf_counter()))
        self.seconds = time.perf_counter() - self._measured_from
        self.stopped.set()
        for thread in threads:
            thread.join(2 * _TIMEOUT_SECONDS)

    def measured(self, times: Times, began: float) -> None:
        if began >= self._measured_from and not (self.stopped.is_set() and not self.until_empty):
            times.append(time.perf_counter() - began)


class _Person:
    def __init__(self, crowd: Crowd, seed: str, person: dict[str, str]) -> None:
        self._crowd, self._id = crowd, person["id"]
        self._random = random.Random(seed)
        self._connection = http.client.HTTPConnection(urlsplit(crowd.url).netloc, timeout=_TIMEOUT_SECONDS)
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": f"sessionid={person['session']}; csrftoken={_CSRF}",
            "X-CSRFToken": _CSRF,
        }

    def work(self) -> None:
        crowd, ahead = self._crowd, list[str]()
        if crowd.think:
            crowd.stopped.wait(self._random.uniform(0, crowd.think))  # people do not begin all at once
        while not crowd.stopped.is_set():
            shown = ahead.pop(0) if ahead else None
            reply = self._post("next", {"have": [*([shown] if shown else []), *ahead], "shown": shown}, crowd.next)
            if reply is None:
                return
            held = [item["lease"] for item in reply["items"]]
            ahead = [lease for lease in ahead if lease in reply["held"]] + [one for one in held if one != shown]
            if shown is None:
                if not ahead and self._is_over(reply):
                    return
                continue
            if shown not in held and shown not in reply["held"]:
                continue  # somebody took it over before it came on the screen
            self._think()
            self._answer(shown)

    def _is_over(self, reply: dict[str, Any]) -> bool:
        """Whether a reply without a question ends the work: yes in a race, otherwise ask again a little later."""
        if self._crowd.until_empty and "held_by_others" not in json.dumps(reply.get("empty")):
            return True
        self._crowd.stopped.wait(_AGAIN_SECONDS)
        return False

    def _think(self) -> None:
        if self._crowd.think:
            self._crowd.stopped.wait(self._random.expovariate(1 / self._crowd.think))

    def _answer(self, lease: str) -> None:
        key = str(uuid.UUID(int=self._random.getrandbits(128)))
        label = self._random.randrange(self._crowd.n_labels)
        reply = self._post("submit", {"lease": lease, "label": label, "key": key}, self._crowd.submit)
        if reply is not None:
            self._crowd.acknowledged.append(key)
            self._crowd.n_late += not reply.get("is_counted", True)

    def _post(self, name: str, fields: dict[str, Any], times: Times) -> dict[str, Any] | None:
        """The reply; None for a late answer, which is counted, or an error, which is noted."""
        crowd = self._crowd
        body = urlencode({"person": self._id, **{k: v for k, v in fields.items() if v is not None}}, doseq=True)
        began = time.perf_counter()
        try:
            status, text = self._send(f"/p/{crowd.slug}/label/{name}", body)
        except (OSError, http.client.HTTPException) as error:
            crowd.errors.append(f"{name}: {error!r}")
            self._connection.close()
            return None
        crowd.measured(times, began)
        if status < 300:
            return dict(json.loads(text))
        if status == 409 and b'"lease_lost"' in text:
            crowd.n_late += 1
        else:
            crowd.errors.append(f"{name}: {status} {text[:200]!r}")
        return None

    def _send(self, path: str, body: str) -> tuple[int, bytes]:
        """Send a request, again on a new connection if the server has closed the kept one, as browsers do."""
        for is_last in (False, True):
            try:
                self._connection.request("POST", path, body, self._headers)
                response = self._connection.getresponse()
                return response.status, response.read()
            except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
                self._connection.close()
                if is_last:
                    raise
        raise AssertionError("unreachable")
