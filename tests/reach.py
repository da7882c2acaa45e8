"""What of a page somebody cannot reach or read: by axe-core's audit, by width, and by keyboard alone."""

from __future__ import annotations

from typing import Any

BAD = ("serious", "critical")

# What is cut off: words that their box is too small for, and what sticks out of the window, or of something that hides
# it, where nothing can be scrolled.
CUT = """() => {
  const out = [], style = (e) => getComputedStyle(e), pen = document.createElement('canvas').getContext('2d');
  const root = document.documentElement;
  const scrolls = (e) => e !== root && /auto|scroll/.test(style(e).overflowX);
  const hides = (e) => e === root || style(e).overflowX !== 'visible' || style(e).contain.includes('paint');
  const called = (e) => `${(e.id && '#' + e.id) || e.outerHTML.slice(0, 110)} ${e.textContent.slice(0, 40)}`;
  const say = (e, why) => out.push(`${why}: ${called(e)}`);
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('.skip,script,noscript,.hoverlayer,#js-plotly-tester')) continue;
    if (!e.checkVisibility({ visibilityProperty: true })) continue;
    const words = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const thing = e.matches('button,select,input,a,summary,svg,canvas,img,iframe'), box = e.getBoundingClientRect();
    if (!box.width || !box.height || !(words || thing)) continue;
    if (words && style(e).overflowX !== 'visible' && !scrolls(e) && e.scrollWidth > e.clientWidth + 1)
      say(e, 'words are cut');
    if (e.matches('select')) {
      pen.font = style(e).font;
      const room = e.clientWidth - parseFloat(style(e).paddingLeft) - parseFloat(style(e).paddingRight);
      if (pen.measureText(e.selectedOptions[0]?.text ?? '').width > room) say(e, 'the choice is cut');
    }
    for (let up = e.parentElement; up && !scrolls(up); up = up.parentElement) {
      if (!hides(up)) continue;
      const edge = up === root ? { left: 0, right: innerWidth } : up.getBoundingClientRect();
      if (box.left < edge.left - 1 || box.right > edge.right + 1) {
        say(e, 'sticks out');
        break;
      }
    }
  }
  return out;
}"""

STOPS = """() => {
  const stops = [...document.querySelectorAll('button,select,input,a[href],summary,iframe,[tabindex]')].filter((e) =>
    e.tabIndex >= 0 && !e.disabled && e.checkVisibility({ visibilityProperty: true }));
  stops.forEach((e, i) => { e.dataset.stop = i; });
  return stops.map((e) => e.getAttribute('aria-label') || e.textContent.trim().slice(0, 40) || e.id || e.tagName);
}"""

# Where the focus is: its stop, and whether it can be seen that it is there.
HERE = """() => {
  const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
  if (e.dataset.stop === undefined) return null;
  const x = Math.min(Math.max(box.left + box.width / 2, 0), innerWidth - 1);
  const y = Math.min(Math.max(box.top + Math.min(box.height, innerHeight) / 2, 0), innerHeight - 1);
  const top = document.elementFromPoint(x, y);
  const seen = top && (e.contains(top) || top.contains(e)) && box.bottom > 0 && box.top < innerHeight;
  const ring = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || e.tagName === 'IFRAME';
  return [Number(e.dataset.stop), Boolean(seen && ring)];
}"""


def findings(page: Any) -> list[str]:
    """What axe-core finds that is serious or critical, one line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['impact']} {each['id']}: {node['target']} {node['html'][:120]} {node['failureSummary'][:200]}"
        for each in found
        if each["impact"] in BAD
        for node in each["nodes"]
    ]


def cut_off(page: Any, patience: float = 20_000) -> list[str]:
    """What is still cut off after a page has had time to be drawn anew, one line each."""
    from playwright.sync_api import TimeoutError as Late

    try:
        page.wait_for_function(f"() => !({CUT})().length", timeout=patience)  # a function: policies forbid eval
    except Late:
        return page.evaluate(f"({CUT})()")
    return []


def unreached(page: Any, key: str = "Tab") -> list[str]:
    """Controls that a key does not come to, and those at which it cannot be seen that it has."""
    names = page.evaluate(f"({STOPS})()")
    page.evaluate("document.activeElement.blur()")
    seen: dict[int, bool] = {}
    for _ in range(len(names) + 10):
        page.keyboard.press(key)
        here = page.evaluate(f"({HERE})()")
        if here is not None:
            seen[here[0]] = here[1]
    unseen = [f"not to be seen: {names[i]}" for i, well in seen.items() if not well]
    return [f"not reached: {name}" for i, name in enumerate(names) if i not in seen] + unseen
