"""The page: `mechicl app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from tyro.conf import arg

from mechicl.cli.arguments import Device, File, Folder, Runs
from mechicl.cli.verbs import Group, app


@app.command(Group.LOOK, name="app")
def open_app(
    runs: Runs = (Path("checkpoints/demo"),),
    *,
    port: Annotated[int | None, arg(metavar="PORT")] = None,
    host: Annotated[str, arg(metavar="HOST")] = "127.0.0.1",
    root_path: Annotated[str | None, arg(metavar="PATH")] = None,
    allow_host: Annotated[tuple[str, ...], arg(metavar="NAME...")] = (),
    out: Folder | None = None,
    device: Device = None,
    view: Annotated[str, arg(metavar="VIEW")] = "",
    save: File | None = None,
    browser: bool = True,
) -> None:
    """Open the interactive page.

    On it you move through training, ablate parts of the model and see the effect on ICL.

    $ mechicl app
    $ mechicl app checkpoints/demo-s1 --port 9000 --no-browser
    $ mechicl app checkpoints/demo-s*
    $ mechicl app checkpoints/my-sweep
    $ mechicl app checkpoints/demo-s* --view against=own --save seeds.pdf

    Ctrl-C stops it. The default run is checkpoints/demo. For several runs, or the folder of a sweep, the page also
    shows the curves of all seeds with their median and range.

    Args:
        runs: the run's folder, several runs in one folder, or a sweep's folder. The page can compare a run with the
            other runs in its folder.
        port: default 8050, or any free port if that is taken.
        host: the address to listen on. If other machines can reach it, the page requires the token in the printed
            address. 0.0.0.0 means every address of this machine.
        root_path: behind a proxy, the path of the page, such as /user/me/proxy/8050/. It is detected on JupyterHub,
            Binder, Codespaces and if VSCODE_PROXY_URI is set; / means no path.
        allow_host: behind a proxy, the host names of its requests, such as hub.example.org, or .example.org for all
            names with this ending.
        out: the folder for branches that the page trains (default: next to the run; if that is read-only, the user's
            cache folder).
        view: the first view, as in the page's address after the question mark: 'over=icl&against=own'.
        save: for several runs: write the figure of their curves to this .html, .png, .svg or .pdf file, and do not open
            the page.
        browser: open the page in the browser.
    """
    import torch

    from mechicl.page.named import named_together
    from mechicl.page.server import open_server

    torch.set_num_threads(1)  # numbers come in small pieces, of which several users may ask at once
    named = named_together(runs)
    if save is not None:
        from mechicl.page.seed_picture import write_picture
        from mechicl.system.paths import shown

        print(f"wrote {shown(write_picture(named, view, save, device))}.")
        return
    server = open_server(
        named[0], host, port, root=root_path, allow_hosts=allow_host, device=device, out=out, together=named
    )
    what = str(runs[0]) if len(runs) == 1 else f"{len(named)} runs: {runs[0]} and others; it"

    def at(url: str) -> str:
        shown = quote(view.removeprefix("?"), safe="=&%+,:@()/;*!'~$")  # %: a page's address is encoded already
        return f"{url}{'&' if '?' in url else '?'}{shown}" if view else url

    print(f"{what} is open at {at(server.url)}  (Ctrl-C stops it)", flush=True)
    if server.note:
        print(server.note, flush=True)
    if browser:
        import webbrowser

        webbrowser.open(at(server.local))
    try:
        server.serve()
    except KeyboardInterrupt:
        print()
