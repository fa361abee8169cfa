/** The violation of an invariant, as an error that ends the schedule. */
export class Violation extends Error {
  override readonly name = 'Violation';
}
