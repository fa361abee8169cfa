/** The style of all pages. Its hash is in their content security policy. */
export const STYLE = `
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --text: #1a222c; --quiet: #54606d; --line: #dce1e7;
  --link: #0a5bbf; --soft: #edf1f5; --note: #fff6dc; --note-line: #e6cf8b; --bad: #a3200d; }
@media (prefers-color-scheme: dark) { :root { --page: #10151b; --card: #182029; --text: #e3e8ee; --quiet: #9dabb9;
  --line: #2c3743; --link: #7ab8ff; --soft: #222c37; --note: #2e2812; --note-line: #5d5122; --bad: #ff9c8a; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
.wrap { max-width: 78rem; margin: 0 auto; padding: 0 1.25rem; }
a { color: var(--link); text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; font-size: .875em; }
.quiet { color: var(--quiet); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: .5rem; padding: .25rem .75rem; background: var(--card); z-index: 1; }
body > header { background: var(--card); border-bottom: 1px solid var(--line); }
body > header .wrap { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.5rem; padding-top: .75rem; padding-bottom: .75rem; }
body > header svg { width: 1.1em; height: 1.1em; vertical-align: -.15em; margin-right: .45em; fill: var(--link); }
.brand { font-weight: 650; color: inherit; text-decoration: none; margin-right: auto; }
form { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; }
form div { display: flex; align-items: center; gap: .5rem; }
form div.grow { flex: 1 1 16rem; max-width: 30rem; }
label { color: var(--quiet); font-size: .9rem; }
input, select, button { font: inherit; font-size: .95rem; min-height: 2.25rem; padding: .25rem .6rem; color: var(--text); background: var(--card);
  border: 1px solid #8a95a1; border-radius: 6px; }
input[type=search] { flex: 1; min-width: 0; }
button { background: var(--soft); cursor: pointer; }
button:hover { border-color: var(--link); }
main.wrap { padding-top: 1.25rem; padding-bottom: 3rem; }
nav.path { font-size: .9rem; margin-bottom: .25rem; overflow-wrap: anywhere; }
nav.path ol { display: flex; flex-wrap: wrap; gap: .15rem .5rem; list-style: none; margin: 0; padding: 0; }
nav.path li + li::before { content: "/"; color: var(--quiet); margin-right: .5rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .25rem 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
h3 { font-size: .95rem; margin: 1.25rem 0 .4rem; }
.list dt { color: var(--quiet); font-size: .85rem; }
.list dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.list { display: grid; grid-template-columns: minmax(8rem, 15rem) minmax(0, 1fr); gap: .4rem 1.25rem; margin: 0; }
.list dt { overflow-wrap: anywhere; padding-top: .1rem; }
table { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tools { margin: 0 0 .9rem; }
table { width: 100%; border-collapse: separate; border-spacing: 0; font-size: .925rem; }
caption { text-align: left; color: var(--quiet); font-size: .9rem; padding: 0 0 .4rem; }
th, td { text-align: left; vertical-align: top; padding: .55rem .8rem; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--quiet); font-weight: 500; font-size: .85rem; white-space: nowrap; }
thead th a { color: inherit; }
tbody th { font-weight: 600; overflow-wrap: anywhere; }
thead th:first-child { min-width: 4rem; }
thead th.name { min-width: 11rem; }
thead th.some { min-width: 13rem; }
thead th.type { min-width: 20rem; }
td.wide .short { white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.wide { overflow-wrap: anywhere; }
time, .digest { white-space: nowrap; }
tbody tr:hover { background: color-mix(in srgb, var(--soft) 55%, transparent); }
.chips { display: flex; flex-wrap: wrap; gap: .25rem; list-style: none; margin: 0; padding: 0; }
.chips li { background: var(--soft); border-radius: 4px; padding: 0 .4rem; font-size: .825rem; overflow-wrap: anywhere; }
.plain { list-style: none; margin: 0; padding: 0; overflow-wrap: anywhere; }
bdi { overflow-wrap: anywhere; }
details > summary { cursor: pointer; }
main > details { margin-top: 1rem; }
main > details > pre { margin-top: .5rem; border: 1px solid var(--line); }
details ul { margin: .25rem 0 0; padding: 0; list-style: none; }
pre { margin: 0; padding: .7rem .9rem; background: var(--soft); border-radius: 6px; overflow: auto; max-height: 32rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.commands { display: grid; gap: .7rem; }
.commands h3 { margin: 0 0 .2rem; font-weight: 500; color: var(--quiet); font-size: .85rem; }
.command { display: flex; gap: .5rem; align-items: flex-start; }
.command pre { flex: 1; min-width: 0; padding: .45rem .7rem; }
.command code { user-select: all; -webkit-user-select: all; font-size: .85rem; }
.note { background: var(--note); border: 1px solid var(--note-line); border-radius: 8px; padding: .6rem .9rem; margin: 0 0 1rem; }
.bad { color: var(--bad); }
nav.pages { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; align-items: center; margin-top: .9rem; font-size: .95rem; }
nav.pages span { color: var(--quiet); }
@media (max-width: 80rem) {
  thead th { white-space: normal; }
  thead th.name, thead th.some { min-width: 7rem; }
  thead th.type { min-width: 12rem; }
  th, td { padding-left: .6rem; padding-right: .6rem; }
}
@media (max-width: 64rem) {
  .wrap, main.wrap { padding-left: .9rem; padding-right: .9rem; }
  h1 { font-size: 1.3rem; }
  table, tbody { display: block; }
  caption { display: block; padding: 0 0 .5rem; }
  table { background: none; border: 0; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { display: block; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .5rem .85rem; margin-bottom: .6rem; }
  tbody th, tbody td { display: flex; gap: .75rem; border: 0; padding: .2rem 0; min-width: 0; }
  tbody th { display: block; font-size: 1rem; }
  td.number { text-align: left; }
  body > header .wrap { gap: .35rem; }
  body > header form { width: 100%; }
  td::before { content: attr(data-label); flex: 0 0 7.5rem; color: var(--quiet); font-size: .85rem; padding-top: .05rem; }
  td > * { min-width: 0; }
  td:empty, td.none { display: none; }
  .list { grid-template-columns: 1fr; gap: 0; }
  .list dd { margin-bottom: .6rem; }
  .command { flex-direction: column; gap: .3rem; }
  .command pre { width: 100%; }
}
@media print { body > header form, .skip, .command button, nav.pages { display: none; } }
`;

/** Adds a button to each command. Without JavaScript or a clipboard, a click selects the whole command. */
export const SCRIPT = `
if (navigator.clipboard) for (const command of document.querySelectorAll('.command')) {
  const button = document.createElement('button');
  const text = command.querySelector('code').textContent;
  const name = 'Copy command for ' + command.dataset.tool;
  button.type = 'button';
  button.textContent = 'Copy';
  button.setAttribute('aria-label', name);
  button.addEventListener('click', async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = 'Copied'; } catch { button.textContent = 'Not copied'; }
    button.setAttribute('aria-label', name + ': ' + button.textContent.toLowerCase());
    setTimeout(() => { button.textContent = 'Copy'; button.setAttribute('aria-label', name); }, 2000);
  });
  command.append(button);
}
`;
