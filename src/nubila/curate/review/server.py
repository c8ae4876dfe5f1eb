"""The page's server: a thin layer of HTTP over `Review`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from socket import socket
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES
from nubila.curate.review.export import export_decisions
from nubila.curate.review.guard import COOKIE, SAFE_HEADERS, Guard
from nubila.curate.review.images import OVERLAY, STRETCHES, band_choices
from nubila.curate.review.session import Review, State
from nubila.curate.review.store import ACTIONS
from nubila.errors import MissingExtraError, NubilaError

try:
    import uvicorn
    from fastapi import Body, FastAPI, HTTPException, Query, Request, Response
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse
    from fastapi.staticfiles import StaticFiles
except ImportError as error:
    raise MissingExtraError((error.name or "fastapi").split(".")[0], extra="review") from error

__all__ = ["make_app", "serve"]

_STATIC: Final = Path(__file__).parent / "static"
_WHY_LENGTH: Final = 2000
_JSON_BYTES: Final = 64 * 1024  # more than a remark of that length takes, however it is written
_Next = Callable[[Request], Awaitable[Response]]


def make_app(review: Review, guard: Guard, *, export: Path, title: str) -> FastAPI:
    """Return the application.

    Args:
        review: what is shown.
        guard: who may.
        export: table that the page's button writes.
        title: of the page.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_guarded(guard))
    app.add_exception_handler(NubilaError, _our_error)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    _add_reading(app, review, export, title)
    _add_writing(app, review, export)
    return app


def serve(app: FastAPI, listener: socket) -> None:
    """Answer what comes to a bound socket, until interrupted."""
    # No access log: the first request has the token in its address.
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def _add_reading(app: FastAPI, review: Review, export: Path, title: str) -> None:
    @app.get("/")
    def page() -> Response:
        return FileResponse(_STATIC / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/api/review")
    def overview() -> dict[str, Any]:
        return {
            "title": title,
            "who": review.who,
            "export": str(export),
            "predictions": review.predictions is not None,
            "classes": [
                {"code": code, "name": name, "colour": OVERLAY[code]}
                for code, name in CLASS_NAMES.items()
            ],
            "stretches": list(STRETCHES),
            "samples": [
                {"id": item.spec.id, "score": item.score, "reason": item.reason} | _state(state)
                for item, state in zip(review.items, review.states(), strict=True)
            ],
        }

    @app.get("/api/samples/{number}")
    def sample(number: int) -> dict[str, Any]:
        found = review.sample(number)
        rows, columns = found.label.shape
        name = found.meta.id
        return {
            "rows": rows,
            "columns": columns,
            "resolution": found.meta.resolution,
            "sensor": found.meta.sensor,
            "level": found.meta.level,
            "split": found.meta.split,
            "group": found.meta.group,
            "tags": {key: text for key, text in found.meta.tags.items() if text},
            "pictures": band_choices(found.bands),
            "prediction": review.predictions is not None and name in review.predictions,
            "draft": review.draft(number) is not None,
            "history": [asdict(decision) for decision in review.store.history(name)],
        }

    @app.get("/api/samples/{number}/image")
    def image(
        number: int, bands: str = Query(max_length=100), stretch: str = Query(max_length=40)
    ) -> Response:
        content = review.picture(number, tuple(bands.split(",")), stretch)
        return Response(content, media_type="image/png")

    @app.get("/api/samples/{number}/label")
    def label(number: int) -> Response:
        return _sets(review.sample(number).label)

    @app.get("/api/samples/{number}/prediction")
    def prediction(number: int) -> Response:
        return _sets(review.prediction(number))

    @app.get("/api/samples/{number}/draft")
    def draft(number: int) -> Response:
        return _sets(review.draft(number))

    @app.get("/api/samples/{number}/decided")
    def decided(number: int) -> Response:
        decision = review.state(number).decision
        return _sets(review.store.mask(decision) if decision else None)


def _add_writing(app: FastAPI, review: Review, export: Path) -> None:
    @app.post("/api/samples/{number}/decision")
    def decide(
        number: int,
        action: Annotated[str, Body()],
        why: Annotated[str, Body(max_length=_WHY_LENGTH)] = "",
    ) -> dict[str, Any]:
        if action not in ACTIONS:
            raise HTTPException(422, f"action {action!r}; expected one of {', '.join(ACTIONS)}")
        mask = review.draft(number) if action == "fix" else None
        return _state(review.decide(number, action, why=why.strip(), mask=mask))

    @app.post("/api/undo")
    def undo() -> dict[str, Any]:
        found = review.undo()
        if found is None:
            return {"number": None, "id": None}
        number, decision = found
        state = _state(review.state(number)) if number is not None else {}
        return {"number": number, "id": decision.sample, "undone": decision.action} | state

    @app.put("/api/samples/{number}/draft")
    async def keep_draft(number: int, request: Request) -> dict[str, Any]:
        shape = (await run_in_threadpool(review.sample, number)).label.shape
        mask = await _body(request, shape)
        await run_in_threadpool(review.keep_draft, number, mask)
        return {"draft": True}

    @app.delete("/api/samples/{number}/draft")
    def drop_draft(number: int) -> dict[str, Any]:
        review.keep_draft(number, None)
        return {"draft": False}

    @app.post("/api/export")
    def write() -> dict[str, Any]:
        return {"rows": export_decisions(review.store, export), "path": str(export)}


def _guarded(guard: Guard) -> Callable[[Request, _Next], Awaitable[Response]]:
    async def middleware(request: Request, answer: _Next) -> Response:
        given = request.query_params.get("token", "")
        if request.method == "GET" and request.url.path == "/" and guard.fits(given):
            response: Response = RedirectResponse("/", 303)  # takes the token out of the address
            response.set_cookie(COOKIE, given, httponly=True, samesite="strict", path="/")
        else:
            cookie = request.cookies.get(COOKIE, "")
            status, reason = guard.refusal(request.method, request.headers, cookie)
            if not status:
                status, reason = _too_long(request)
            response = PlainTextResponse(reason, status) if status else await answer(request)
        response.headers.update(SAFE_HEADERS)
        if not request.url.path.startswith("/static"):
            response.headers.setdefault("cache-control", "no-store")
        else:
            response.headers["cache-control"] = "no-cache"
        return response

    return middleware


def _too_long(request: Request) -> tuple[int, str]:
    """Return status and reason of a refusal before anything of a body is read, or ``(0, "")``.

    Masks, which alone are put, are read by `_body` no further than their image has pixels.
    """
    if request.method == "PUT":
        return 0, ""
    if "transfer-encoding" in request.headers:
        return 411, "the header content-length is missing"
    length = int(request.headers.get("content-length", 0))  # the server refuses what is no number
    if length > _JSON_BYTES:
        return 413, f"a body of {length} bytes; expected no more than {_JSON_BYTES}"
    return 0, ""


async def _our_error(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


async def _body(request: Request, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the mask that a request brings, reading no more than the image has pixels."""
    rows, columns = shape
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > rows * columns:
            break
    if len(content) != rows * columns:
        raise HTTPException(422, f"expected {rows} x {columns} bytes, one a pixel")
    return np.frombuffer(bytes(content), np.uint8).reshape(shape)


def _sets(sets: NDArray[np.uint8] | None) -> Response:
    if sets is None:
        raise HTTPException(404, "there is none")
    return Response(np.ascontiguousarray(sets).tobytes(), media_type="application/octet-stream")


def _state(state: State) -> dict[str, Any]:
    decision = state.decision
    return {
        "action": decision.action if decision else None,
        "why": decision.why if decision else "",
        "changed": list(state.changed),
    }
