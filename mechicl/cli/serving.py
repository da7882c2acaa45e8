"""The page: `mechicl app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from mechicl.cli.verbs import Device, Runs, app


@app.command(name="app")
def open_app(
    runs: Runs = (Path("checkpoints/demo"),),
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    root_path: str | None = None,
    allow_host: Annotated[tuple[str, ...], arg(metavar="NAME...")] = (),
    out: Path | None = None,
    device: Device = None,
    view: str = "",
    save: Path | None = None,
    browser: bool = True,
) -> None:
    """Open a page to move through training, take parts of the model out and watch ICL change. Ctrl-C ends it.

    $ mechicl app
    $ mechicl app checkpoints/demo-s1 --port 9000 --no-browser
    $ mechicl app checkpoints/demo-s*
    $ mechicl app checkpoints/my-sweep
    $ mechicl app checkpoints/demo-s* --view against=own --save seeds.pdf

    Without a run it is checkpoints/demo. Several runs, or the folder of a sweep, are shown as seeds too: their curves
    with median and range.

    Args:
        runs: the run's directory, or several of one folder, or a sweep's folder. The runs beside it can be compared
            with.
        port: default 8050, or any free one if that is taken.
        host: the address to listen on. If other machines can reach it, the page asks for the token that is part
            of its address. 0.0.0.0 is every address of this machine.
        root_path: behind a proxy, the path under which it shows the page, such as /user/me/proxy/8050/. It is found
            by itself on JupyterHub, Binder, Codespaces and where VSCODE_PROXY_URI is set; / is none.
        allow_host: behind a proxy, host names under which it asks for the page, such as hub.example.org, or
            .example.org for all names that end so.
        out: where branches that the page trains are put (default: beside the run; if that is read-only, the user's
            cache folder).
        view: what is shown first, as the page's address has it after the question mark: 'over=icl&against=own'.
        save: of several runs: write the figure of their curves to this .html, .png, .svg or .pdf, and open no page.
        browser: open it in the browser.
    """
    import torch

    from mechicl.page.named import named_together
    from mechicl.page.server import open_server

    torch.set_num_threads(1)  # numbers come in small pieces, of which several users may ask at once
    named = named_together(runs)
    if save is not None:
        from mechicl.page.seed_picture import write_picture
        from mechicl.system.paths import shown

        print(f"{shown(write_picture(named, view, save, device))} is written.")
        return
    server = open_server(
        named[0], host, port, root=root_path, allow_hosts=allow_host, device=device, out=out, together=named
    )
    what = str(runs[0]) if len(runs) == 1 else f"{len(named)} runs: {runs[0]} and others; it"

    def at(url: str) -> str:
        return f"{url}{'&' if '?' in url else '?'}{view.removeprefix('?')}" if view else url

    print(f"{what} is open at {at(server.url)}  (Ctrl-C ends it)", flush=True)
    if server.note:
        print(server.note, flush=True)
    if browser:
        import webbrowser

        webbrowser.open(at(server.local))
    try:
        server.serve()
    except KeyboardInterrupt:
        print()
