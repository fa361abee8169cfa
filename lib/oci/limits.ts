/** What a manifest may ask of whoever walks it. */
export const MANIFEST_LIMITS = {
  /** Registries must take at least this much (OCI distribution spec 1.1, "Pushing Manifests"), and few take more. */
  bytes: 4 * 1024 * 1024,
  /**
   * Layers (or an artifact's blobs). Engines stack 128 at most; the rest is room for artifacts with a layer a file.
   * Each may cost a message and a download.
   */
  layers: 1024,
  /** Children of one index. They are all fetched by the same invocation; the largest seen in public have about 100. */
  children: 1024,
  /** Manifests of one image in all, whatever its nesting: one index that is full, and itself. Each costs a request. */
  manifests: 1025,
  /**
   * Blobs of one image in all. Each costs a request, a message and a receipt; the largest images seen in public, with 20
   * platforms of 100 layers, have a quarter of it.
   */
  blobs: 8192,
  /**
   * Indexes on the way from the root to an image, the root counted: an index of indexes of indexes, and no deeper.
   * Tools make one, rarely two.
   */
  nesting: 3,
} as const;
