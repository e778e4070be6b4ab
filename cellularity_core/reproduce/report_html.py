"""A report as one HTML file that asks no other file and no other machine for anything."""

import base64
from html import escape

from cellularity_core.reproduce.document import Document, Picture, Table, Text

_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .5rem; border-bottom: 1px solid #ccc;
  overflow-wrap: break-word; }
.wide { overflow-x: auto; }
.warning { background: #fff3c4; padding: .6rem .9rem; }
.note, figcaption, footer { color: #555; font-size: .85rem; }
figure { margin: 0; } img { max-width: 100%; height: auto; }
"""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def html(document: Document) -> str:
    """The report as a page; the same text for the same content."""
    body = [f"<h1>{escape(document.title)}</h1>"]
    if document.warning:
        body.append(f'<p class="warning">{escape(document.warning)}</p>')
    body += [f"<p>{escape(text)}</p>" for text in document.lead]
    body += [_part(part) for part in document.parts]
    body.append(f"<footer><p>{escape(document.foot)}</p></footer>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _part(part: Text | Table | Picture) -> str:
    head = f"<h2>{escape(part.title)}</h2>"
    if isinstance(part, Text):
        return "\n".join([head, *(f"<p>{escape(text)}</p>" for text in part.paragraphs)])
    if isinstance(part, Picture):
        data = base64.b64encode(part.png).decode("ascii")
        width, height = part.size
        return (
            f'{head}\n<figure><img alt="{escape(part.title)}" width="{width}" height="{height}" '
            f'src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(part.caption)}</figcaption></figure>"
        )
    lines = [head, '<div class="wide"><table>', _row("th", part.columns)]
    lines += [_row("td", row) for row in part.rows]
    lines.append("</table></div>")
    if part.note:
        lines.append(f'<p class="note">{escape(part.note)}</p>')
    return "\n".join(lines)


def _row(cell: str, values: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(value)}</{cell}>" for value in values) + "</tr>"
