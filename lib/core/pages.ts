/** The unit in which such memory comes, in bytes (WebAssembly core specification, "Memory Instances"). */
const UNIT_BYTES = 64 * 1024;

/** What of the WebAssembly JavaScript interface is used here; TypeScript has it among the browser's types only. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number; readonly maximum: number; readonly shared: true }) => {
    readonly buffer: SharedArrayBuffer;
  };
};

/** The next size, in bytes, in which `sharedPages` is made. */
export function inUnits(bytes: number): number {
  return Math.ceil(bytes / UNIT_BYTES) * UNIT_BYTES;
}

/**
 * Shared memory that begins where a page of the machine's does, as disks ask of what they read by themselves (O_DIRECT,
 * open(2)). A `SharedArrayBuffer` that is made directly begins anywhere; the memory of WebAssembly is mapped in pages. Where
 * it cannot be had (there is an end of it at 4 GiB, and of the addresses that it sets aside), it begins anywhere all the same.
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
