/** The width of text in the cells of a terminal: a CJK character or an emoji takes two cells, and a combining mark none. */
import stringWidth from 'fast-string-width';

/** The cells of a text without escape sequences. */
export const widthOf: (text: string) => number = stringWidth;

/** The longest start of a text that fits into this number of cells. A character with its marks is never divided. */
export function startOf(text: string, width: number): string {
  return fitting(charactersOf(text), width).join('');
}

/** The longest end of a text that fits into this number of cells. */
export function endOf(text: string, width: number): string {
  return fitting(charactersOf(text).reverse(), width).reverse().join('');
}

/** A character with its marks is one element. The first segmenter takes 10 ms, so the start of a program makes none. */
function charactersOf(text: string): string[] {
  return [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment);
}

function fitting(segments: readonly string[], width: number): string[] {
  let left = width;
  const end = segments.findIndex((segment) => {
    left -= widthOf(segment);
    return left < 0;
  });
  return segments.slice(0, end === -1 ? undefined : end);
}

/** Like `padEnd`, in cells. */
export function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}
