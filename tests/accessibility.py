"""What axe, the usual checker, finds against WCAG 2.2 AA on a page of the app."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Page

THEMES: Final = {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 21, 27)"}
"""Background of the app (.streamlit/config.toml) by what the browser asks for."""

ACCEPTED: Final[dict[tuple[str, str], str]] = {}
"""Why a finding inside one of Streamlit's own widgets stays, by rule and part of its selector."""

_RUN: Final = """async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const { violations } = await axe.run({ runOnly: tags, resultTypes: ["violations"] });
  const grave = violations.filter((rule) => ["serious", "critical"].includes(rule.impact));
  return grave.flatMap((rule) => rule.nodes.map((node) => [
    rule.id, node.target.flat().join(" "), node.html.slice(0, 150), node.failureSummary]));
}"""


_CHARTS: Final = """() => {
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const numbers = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const ground = numbers(getComputedStyle(document.querySelector(".stApp")).backgroundColor);
  const ratio = (element) => {
    const style = getComputedStyle(element);
    const [r, g, b, a = 1] = numbers(style.fill);
    let seen = a * style.fillOpacity;
    for (let one = element; one && one.tagName !== "svg"; one = one.parentElement)
      seen *= getComputedStyle(one).opacity;
    const mixed = [r, g, b].map((value, k) => seen * value + (1 - seen) * ground[k]);
    const [low, high] = [light(mixed), light(ground)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const faint = (selector, least) => [...document.querySelectorAll(selector)]
    .filter((one) => one.getClientRects().length && getComputedStyle(one).fill !== "none")
    .filter((one) => !one.closest(".heatmaplayer, .st-key-rcb-scale, .hoverlayer, .modebar"))
    .map((one) => [one, ratio(one)]).filter(([, found]) => found < least)
    .map(([one, found]) => `${one.textContent || one.getAttribute("class")}: ${found.toFixed(2)}`);
  return [...faint(".js-plotly-plot .main-svg text", 4.5),
    ...faint(".js-plotly-plot .scatterlayer path.point", 3)];
}"""
"""Texts and dots of charts that are too faint, which axe does not see in SVG."""


def findings(page: "Page", name: str, themes: Iterable[str] = THEMES) -> list[str]:
    """Serious and critical findings on `page`, light and dark, a line each.

    Parameters
    ----------
    page : Page
        Settled: nothing is drawn any more.
    name : str
        Of the page, said in each line.
    themes : iterable of str
        Those of `THEMES` that are looked at.
    """
    from axe_playwright_python.base import AXE_SCRIPT

    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE_SCRIPT)
    found = []
    for theme in themes:
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.wait_for_function(
            "colour => getComputedStyle(document.querySelector('.stApp')).backgroundColor == colour"
            " && !document.getAnimations().some((one) => one instanceof CSSTransition)",
            arg=THEMES[theme],
        )
        for rule, where, html, why in page.evaluate(_RUN):
            if not any(rule == r and part in where for r, part in ACCEPTED):
                found.append(f"{name}, {theme}: {rule} at {where}: {html}\n  {why}")
        found += [f"{name}, {theme}: faint in a chart: {one}" for one in page.evaluate(_CHARTS)]
    # A page that is opened next listens for a change only once it has begun to draw.
    page.emulate_media(color_scheme="light")
    return found
