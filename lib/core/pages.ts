/** The unit of WebAssembly memory, in bytes (WebAssembly core specification, "Memory Instances"). */
const UNIT_BYTES = 64 * 1024;

/**
 * The part of the WebAssembly JavaScript interface that is used here; TypeScript has it among the browser's types only.
 */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number; readonly maximum: number; readonly shared: true }) => {
    readonly buffer: SharedArrayBuffer;
  };
};

/** The next size, in bytes, that `sharedPages` can allocate. */
export function inUnits(bytes: number): number {
  return Math.ceil(bytes / UNIT_BYTES) * UNIT_BYTES;
}

/**
 * Allocates shared memory that begins on a page of the machine, as O_DIRECT requires (open(2)). A `SharedArrayBuffer`
 * that is made directly begins anywhere, while WebAssembly memory is mapped in pages. Where WebAssembly memory is not
 * available (beyond 4 GiB, or where addresses are limited), the memory begins anywhere.
 *
 * @param bytes a multiple of 64 KiB
 * @throws RangeError where there is no memory
 */
export function sharedPages(bytes: number): SharedArrayBuffer {
  const units = bytes / UNIT_BYTES;
  try {
    return new WebAssembly.Memory({ initial: units, maximum: units, shared: true }).buffer;
  } catch {
    return new SharedArrayBuffer(bytes);
  }
}
