/** The bundler compiles it into a module; the platform refuses WebAssembly made from bytes. */
declare module '@phi-ag/argon2/argon2.wasm' {
  const wasm: WebAssembly.Module
  export default wasm
}
