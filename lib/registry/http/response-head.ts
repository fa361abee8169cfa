/** The control characters, except for a tab. */
const CONTROLS = /[^\t\x20-\x7e\x80-\xff]/g;

interface Header {
  readonly name: string;
  readonly value: string;
}

/**
 * Normalises a response head for a strict parser, where RFC 9112 allows a recipient to be lenient: line ends without CR
 * (section 2.2), white space around names and folded values (5.1, 5.2), a Content-Length together with Transfer-Encoding,
 * which overrides it (6.3), a repeated, equal Content-Length (RFC 9110, section 8.6), control characters in values (5.5),
 * a later version of HTTP/1 (2.5), and white space in the status line.
 *
 * @param head all bytes up to the empty line, as Latin-1
 * @returns undefined if the lengths contradict each other
 */
export function normaliseHead(head: string): string | undefined {
  const [status = '', ...lines] = head.replace(/(\r?\n)+$/, '').split(/\r?\n/);
  const headers = headersOf(lines);
  const named = (name: string): Header[] => headers.filter((header) => header.name.toLowerCase() === name);
  const codings = named('transfer-encoding').flatMap(({ value }) => listOf(value.toLowerCase()));
  const transfer = codings.filter((coding) => coding !== 'identity');
  const lengths = new Set(named('content-length').flatMap(({ value }) => listOf(value).map(lengthOf)));
  if (transfer.length === 0 && (lengths.size > 1 || lengths.has(undefined))) return undefined;
  const framing = /^(transfer-encoding|content-length)$/i;
  const others = headers.filter(({ name }) => !framing.test(name));
  const kept = others.map(({ name, value }) => ({ name, value: value.replace(CONTROLS, ' ') }));
  if (transfer.length > 0) kept.push({ name: 'transfer-encoding', value: transfer.join(', ') });
  else for (const length of lengths) kept.push({ name: 'content-length', value: length ?? '' });
  return [statusLine(status), ...kept.map(({ name, value }) => `${name}: ${value}`), '', ''].join('\r\n');
}

/** Any version of HTTP/1 is read as 1.1, except for 1.0. */
function statusLine(line: string): string {
  const [, minor, code, reason = ''] = /^HTTP\/1\.(\d)[ \t]+(\d{3})(?:[ \t](.*))?$/s.exec(line) ?? [];
  if (code === undefined) return line;
  return `HTTP/1.${minor === '0' ? 0 : 1} ${code} ${reason.replace(CONTROLS, ' ')}`;
}

function headersOf(lines: readonly string[]): Header[] {
  const headers: { readonly name: string; readonly parts: string[] }[] = [];
  for (const line of lines) {
    const [, name, value = ''] = /^([!#$%&'*+\-.^_`|~\w]+)[ \t]*:(.*)$/s.exec(line) ?? [];
    if (name !== undefined) headers.push({ name, parts: [trimmed(value)] });
    else if (/^[ \t]/.test(line)) headers.at(-1)?.parts.push(trimmed(line));
    // Other lines are skipped, as other clients do.
  }
  return headers.map(({ name, parts }) => ({ name, value: trimmed(parts.join(' ')) }));
}

/** Without the white space of HTTP at both ends. A regular expression would take quadratic time. */
function trimmed(text: string): string {
  const isBlank = (at: number): boolean => text[at] === ' ' || text[at] === '\t';
  let [start, end] = [0, text.length];
  while (start < end && isBlank(start)) start += 1;
  while (start < end && isBlank(end - 1)) end -= 1;
  return text.slice(start, end);
}

function listOf(value: string): string[] {
  const members = value.split(',').map(trimmed);
  // RFC 9110, section 5.6.1: a list may have empty members, but not only empty ones.
  return members.some((member) => member !== '') ? members.filter((member) => member !== '') : members.slice(0, 1);
}

/** Removes leading zeros, so that equal lengths are equal as text. */
function lengthOf(text: string): string | undefined {
  return /^\d+$/.test(text) ? text.replace(/^0+(?=\d)/, '') : undefined;
}
