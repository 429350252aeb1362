/** The bundler makes a module of it, compiled; WebAssembly made of bytes is refused by the platform. */
declare module '@phi-ag/argon2/argon2.wasm' {
  const wasm: WebAssembly.Module
  export default wasm
}
