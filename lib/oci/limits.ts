/** The limits of a manifest, which bound the work of reading its image. */
export const MANIFEST_LIMITS = {
  /**
   * Registries must accept manifests of at least this size (OCI distribution spec 1.1, "Pushing Manifests"), and few
   * accept larger ones.
   */
  bytes: 4 * 1024 * 1024,
  /**
   * Layers (or an artifact's blobs). Engines stack at most 128; the rest is room for artifacts with one layer per file.
   * Each may cost a message and a download.
   */
  layers: 1024,
  /** Children of one index. One invocation fetches all of them; the largest public index seen has about 100. */
  children: 1024,
  /** Manifests of one image, at all levels: an index and its maximum number of children. Each costs a request. */
  manifests: 1025,
  /**
   * Blobs of one image. Each costs a request, a message and a receipt. The largest public images seen, with 20
   * platforms of 100 layers, have a quarter of this.
   */
  blobs: 8192,
  /**
   * Indexes from the root down to an image, including the root: at most an index of indexes of indexes.
   * Tools create one level, and rarely two.
   */
  nesting: 3,
} as const;
