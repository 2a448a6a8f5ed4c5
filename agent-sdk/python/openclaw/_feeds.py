"""RSS and Atom feeds as lists of dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Iterable


def parse_rss(text: str | bytes | Any) -> list[dict[str, str]]:
    """Return the entries of an RSS 0.9–2.0, RDF or Atom feed: id, title, link, content.

    Takes text, bytes, or a response of `self.http`. Broken XML gives an empty list, because a
    feed that is ill for an hour is weather and not a fault of the agent.
    """
    content = text if isinstance(text, (str, bytes)) else text.content
    raw = content.encode() if isinstance(content, str) else content
    # Entity declarations make a few bytes grow into gigabytes; no feed needs them.
    if b"<!ENTITY" in raw.upper():
        return []
    try:
        root = ElementTree.fromstring(content.strip() if isinstance(content, str) else raw.strip())
    except (ElementTree.ParseError, ValueError):
        return []
    found = [_entry(node) for node in root.iter() if _local(node.tag) in ("item", "entry")]
    return [entry for entry in found if entry["id"]]


def _entry(node: ElementTree.Element) -> dict[str, str]:
    fields: dict[str, str] = {}
    link = ""
    for child in node:
        name = _local(child.tag)
        if name == "link":
            relation = child.get("rel", "alternate")
            if relation == "alternate" and not link:
                link = (child.get("href") or child.text or "").strip()
        elif name not in fields:
            fields[name] = "".join(child.itertext()).strip()
    about = next((v for k, v in node.attrib.items() if _local(k) == "about"), "")
    return {
        "id": _first((fields.get("guid"), fields.get("id"), link, about, fields.get("title"))),
        "title": fields.get("title", ""),
        "link": link or (fields.get("guid", "") if "://" in fields.get("guid", "") else ""),
        "content": _first(
            [fields.get(k) for k in ("encoded", "content", "description", "summary")]
        ),
        "published": _first([fields.get(k) for k in ("pubDate", "published", "updated", "date")]),
    }


def _first(texts: Iterable[str | None]) -> str:
    return next((text for text in texts if text), "")


def _local(tag: Any) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
