/** The style of the page. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: light-dark(#fbfbfd, #101216);
  --card: light-dark(#fff, #171a20);
  --line: light-dark(#e4e5ec, #2a2e37);
  --ink: light-dark(#1c1e26, #e6e8ee);
  --soft: light-dark(#646977, #979dac);
  --accent: light-dark(#4a45c4, #a5a1ff);
  --green: light-dark(#0c7a53, #4fd1a0);
  --blue: light-dark(#1f5fbf, #79b0ff);
  --amber: light-dark(#975a06, #f0b45c);
  --red: light-dark(#bd2c3b, #ff8f96);
  font:
    15px / 1.55 system-ui,
    sans-serif;
  background: var(--page);
  color: var(--ink);
  scroll-padding-top: 5rem;
}
* {
  box-sizing: border-box;
}
[hidden] {
  /* biome-ignore lint/complexity/noImportantStyles: what is hidden is hidden, however it is laid out. */
  display: none !important;
}
body,
h2,
h4,
p,
ul,
dl,
dd,
pre {
  margin: 0;
  padding: 0;
}
ul {
  list-style: none;
}
small,
.type,
dt,
summary > span {
  color: var(--soft);
}
small,
.type,
h4,
pre,
textarea,
label > span,
dl {
  font-size: 0.84rem;
}
code {
  font-size: 0.93em;
}
.method,
.status {
  padding: 0.1em 0.5em;
  border-radius: 5px;
  background: color-mix(in srgb, currentColor 11%, transparent);
}
a {
  color: var(--accent);
  text-decoration: none;
}
:focus-visible {
  outline: 2px solid var(--accent);
  outline-offset: 2px;
}

input,
select,
textarea,
button {
  font: inherit;
  color: inherit;
  background: var(--page);
  border: 1px solid var(--line);
  border-radius: 7px;
  padding: 0.35rem 0.6rem;
  min-width: 0;
}
::placeholder {
  color: var(--soft);
}
button {
  background: var(--accent);
  border-color: transparent;
  color: var(--card);
  font-weight: 600;
  cursor: pointer;
}
button.delete {
  background: var(--red);
}
button.quiet,
#who button {
  background: none;
  border-color: var(--line);
  color: var(--soft);
}
code,
pre,
textarea,
.method,
nav a:not(.tag),
dd {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace;
}
button:disabled {
  opacity: 0.5;
}

header {
  position: sticky;
  top: 0;
  z-index: 1;
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 0.5rem 1rem;
  padding: 0.7rem 1.5rem;
  background: var(--card);
  border-bottom: 1px solid var(--line);
}
.brand {
  font-size: 1.15rem;
  font-weight: 700;
  color: var(--ink);
}
#notice {
  margin-left: auto;
  color: var(--amber);
}
#login,
#who,
.row {
  display: flex;
  align-items: center;
  gap: 0.6rem;
}

.columns {
  display: grid;
  gap: 2rem;
  align-items: start;
}
#top {
  grid-template-columns: 17rem minmax(0, 1fr);
  max-width: 90rem;
  margin: auto;
  padding: 0 1.5rem 40vh;
}
nav {
  position: sticky;
  top: 3.7rem;
  max-height: calc(100vh - 3.7rem);
  overflow-y: auto;
  padding: 1.5rem 4px;
}
nav input {
  width: 100%;
}
nav a {
  display: block;
  padding: 0.12rem 0;
  font-size: 0.8rem;
  color: var(--ink);
  white-space: nowrap;
  overflow: hidden;
  text-overflow: ellipsis;
}
nav a:hover {
  color: var(--accent);
}
nav .tag {
  margin-top: 1.1rem;
  padding: 0;
  font-size: 0.95rem;
  font-weight: 600;
}
nav .method {
  display: inline-block;
  width: 3.6rem;
  padding: 0;
  background: none;
  font-size: 0.7rem;
}
main {
  padding-top: 1.5rem;
}
.about {
  max-width: 46rem;
  display: grid;
  gap: 0.6rem;
}
h2 {
  margin: 2.2rem 0 0.7rem;
  font-size: 1.25rem;
}
h2 small {
  font-weight: 400;
}
h4 {
  margin: 1.3rem 0 0.3rem;
}

b.get {
  color: var(--blue);
}
b.post,
.s2 {
  color: var(--green);
}
b.patch,
.s4 {
  color: var(--amber);
}
b.delete,
.s5 {
  color: var(--red);
}
summary {
  cursor: pointer;
}
.operation {
  margin-bottom: 0.5rem;
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 10px;
}
.operation > summary {
  display: flex;
  flex-wrap: wrap;
  align-items: baseline;
  gap: 0.2rem 0.8rem;
  padding: 0.6rem 1rem;
  border-radius: 10px;
}
.operation > summary:hover {
  background: color-mix(in srgb, var(--accent) 6%, transparent);
}
.operation > summary > .method {
  width: 4.2rem;
  font-size: 0.75rem;
  text-align: center;
}
.who {
  margin-left: auto;
  padding: 0 0.6rem;
  border: 1px solid var(--line);
  border-radius: 1rem;
}
.operation > .columns {
  grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
  padding: 0.8rem 1rem 1.2rem;
  border-top: 1px solid var(--line);
}

.fields li {
  padding: 0.35rem 0;
  border-bottom: 1px solid var(--line);
}
.fields li:last-child {
  border: 0;
}
.fields .fields {
  margin-left: 0.3rem;
  padding-left: 1rem;
  border-left: 2px solid var(--line);
}
.name {
  margin-right: 0.6rem;
  font-weight: 600;
}
.required {
  margin-right: 0.6rem;
  color: var(--red);
  font-size: 0.75rem;
}
.type {
  overflow-wrap: anywhere;
}
.fields p {
  color: var(--soft);
  font-size: 0.9rem;
}
.answer .required {
  display: none;
}
.answer > summary {
  padding: 0.25rem 0;
}
.answer > summary > * {
  margin-right: 0.6rem;
}
.answer > .fields {
  margin-left: 1.1rem;
}

.try {
  position: sticky;
  top: 4.5rem;
  max-height: calc(100vh - 5.5rem);
  overflow-y: auto;
  display: grid;
  gap: 0.7rem;
  padding: 1rem;
  background: var(--page);
  border: 1px solid var(--line);
  border-radius: 10px;
}
.try label {
  display: grid;
  grid-template-columns: 8.5rem minmax(0, 1fr);
  gap: 0.2rem;
  align-items: center;
}
.try .body {
  grid-template-columns: minmax(0, 1fr);
}
.try input,
.try select,
textarea {
  width: 100%;
  background: var(--card);
  font-size: 0.93rem;
}
textarea {
  font-size: 0.84rem;
  resize: vertical;
  line-height: 1.45;
}
.row {
  justify-content: space-between;
}
.row:first-child {
  justify-content: start;
}
.hint {
  color: var(--amber);
}
pre {
  max-height: 26rem;
  overflow: auto;
  padding: 0.7rem;
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 7px;
  line-height: 1.45;
}
.result {
  display: grid;
  gap: 0.5rem;
}
.result:empty {
  display: none;
}
.status {
  font-variant-numeric: tabular-nums;
}
dl {
  display: grid;
  grid-template-columns: auto minmax(0, 1fr);
  gap: 0 0.8rem;
}
dd {
  overflow-wrap: anywhere;
  font-size: 0.8rem;
}
.key {
  color: var(--accent);
}
.text {
  color: var(--green);
}
.value {
  color: var(--amber);
}
noscript {
  display: block;
  padding: 1.5rem;
}

@media (max-width: 68rem) {
  .operation > .columns {
    grid-template-columns: minmax(0, 1fr);
  }
  .try {
    position: static;
    max-height: none;
  }
}
@media (max-width: 48rem) {
  :root {
    scroll-padding-top: 8rem;
  }
  header,
  #top {
    padding-left: 1rem;
    padding-right: 1rem;
  }
  #login {
    width: 100%;
  }
  #login input {
    flex: 1;
  }
  #top {
    grid-template-columns: minmax(0, 1fr);
    gap: 0;
  }
  nav {
    position: static;
    padding-bottom: 0;
  }
  nav div {
    display: inline-block;
    margin-right: 1.2rem;
  }
  nav a:not(.tag) {
    display: none;
  }
  nav .tag {
    margin-top: 0.6rem;
  }
}
`
