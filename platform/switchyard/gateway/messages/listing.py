"""What Anthropic's clients read besides messages: counts of tokens and the list of models, with errors in their shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from switchyard.gateway.messages.telling import Messages


class Counts(Messages):
    """The body is right as it is; errors aren't."""

    surface = "messages/count_tokens"

    async def whole(self, answer: dict[str, Any], mark: str) -> dict[str, Any]:
        return answer


class Models(Messages):
    """One model or a page of all of them: there are never more than one page holds."""

    surface = "models"

    async def whole(self, answer: dict[str, Any], mark: str) -> dict[str, Any]:
        if answer.get("object") != "list":
            return _model(answer)
        data = [_model(model) for model in answer["data"]]
        ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return {"data": data, "has_more": False, "first_id": ends[0], "last_id": ends[1]}


def _model(model: dict[str, Any]) -> dict[str, Any]:
    created = datetime.fromtimestamp(model.get("created") or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": model["id"], "display_name": model["id"], "created_at": created}
