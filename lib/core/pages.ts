/** The unit of WebAssembly memory, in bytes (WebAssembly core specification, "Memory Instances"). */
const UNIT_BYTES = 64 * 1024;

/** The part of the WebAssembly JavaScript interface that is used here; TypeScript has it for browsers only. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number; readonly maximum: number; readonly shared: true }) => {
    readonly buffer: SharedArrayBuffer;
  };
};

/**
 * Allocates shared memory that begins on a page of the machine, as O_DIRECT requires (open(2)). WebAssembly memory is
 * mapped in pages, and each reserves 8 GiB of addresses; a plain `SharedArrayBuffer` begins anywhere. If WebAssembly
 * memory is not available, this one begins anywhere as well.
 *
 * @throws RangeError if the process gets no more memory
 */
export function sharedPages(bytes: number): SharedArrayBuffer {
  const units = Math.ceil(bytes / UNIT_BYTES);
  try {
    return new WebAssembly.Memory({ initial: units, maximum: units, shared: true }).buffer;
  } catch {
    return new SharedArrayBuffer(bytes);
  }
}
