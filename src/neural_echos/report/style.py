"""The look of the report: one style sheet, for phones, wide screens, paper, and light and dark."""

CSS = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #555; --paper: #fff; --line: #ccc; --box: #f4f4f2; --link: #0b5394; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e3; --soft: #aaa; --paper: #16181a; --line: #444; --box: #22262a; --link: #8ab8f0; }
}
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 1rem;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { margin: 2rem 0 .5rem; font-size: 1.05rem; } a { color: var(--link); } p { margin: .5rem 0; }
nav ul { columns: 18rem; padding-left: 1.1rem; margin: .3rem 0 .8rem; } nav li { break-inside: avoid; font-size: .9rem; }
.soft, figcaption, .files, summary { color: var(--soft); font-size: .88rem; }
figure { margin: 0; } figcaption { margin-top: .4rem; } .card { background: #fff; border: 1px solid var(--line); border-radius: 6px;
  padding: .5rem; text-align: center; }
.card img { max-width: 100%; height: auto; display: block; margin: auto; }
.scroll { overflow: auto; max-height: 36rem; font-size: .82rem; border: 1px solid var(--line); border-radius: 6px; }
.scroll table { width: max-content; min-width: 100%; } .scroll td { max-width: 20rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .3rem .6rem; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--box); } tbody tr { border-top: 1px solid var(--line); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } .says { font-weight: 600; }
.verdict { display: inline-block; border: 2px solid currentColor; border-radius: 4px; padding: 0 .4rem; font-weight: 600; }
.not-run, .inconclusive { border-style: dashed; } .not-supported { border-style: double; border-width: 4px; }
.stack { font-size: .88rem; table-layout: fixed; } .stack td { overflow-wrap: anywhere; }
.stack small { display: block; margin-top: .25rem; color: var(--soft); }
details { margin: .4rem 0; } summary { cursor: pointer; }
code, pre { font: .82rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; background: var(--box); padding: .6rem; border-radius: 6px; max-height: 30rem; overflow: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem .8rem; font-size: .88rem; margin: .4rem 0; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.walk { stroke: var(--soft); fill: none; } .walk rect { fill: var(--box); } .walk marker path { fill: var(--soft); stroke: none; }
.walk text { fill: var(--ink); stroke: none; text-anchor: middle; font: 13px system-ui, sans-serif; }
.walk text.jobs { fill: var(--soft); font-size: 11px; } .drawing { overflow-x: auto; }
@media (max-width: 44rem) {
  body { padding: .7rem; } h1 { font-size: 1.3rem; } dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
  .card { overflow-x: auto; } .card img { max-width: none; width: 38rem; } /* a figure is wider than a phone: it scrolls */
  .stack thead { display: none; } .stack tr, .stack td { display: block; } .stack tr { padding: .5rem 0; }
  .stack td { padding: .1rem .6rem; } .number { text-align: left; }
  .stack td::before { content: attr(data-head) ": "; color: var(--soft); }
}
@media print {
  :root { --ink: #000; --soft: #333; --paper: #fff; --line: #999; --box: #eee; --link: #000; }
  body { font-size: 9.5pt; max-width: none; padding: 0; } a { text-decoration: none; }
  nav { display: none; } .scroll table { width: 100%; } .scroll td { max-width: none; }
  .scroll { max-height: none; overflow: visible; font-size: 6.5pt; border: 0; } .scroll th, .scroll td { padding: .15rem .25rem; }
  .walk { max-width: 100%; height: auto; } .card img { max-height: 20cm; }
  figure, tr, .walk { break-inside: avoid; } h2, h3, #work + p { break-after: avoid; }
  thead th { position: static; } .files { display: none; }
}
"""
