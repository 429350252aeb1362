// What wrangler.toml's `rules` make text of.
declare module '*.html' {
  const text: string
  export default text
}
declare module '*.css' {
  const text: string
  export default text
}
declare module '*/page.js' {
  const text: string
  export default text
}
