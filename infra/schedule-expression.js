/**
 * EventBridge Scheduler's expressions ("Schedule types in EventBridge Scheduler"): `rate(6 hours)`, `cron(0 3 * * ? *)`,
 * `at(2026-01-31T03:00:00)`. Pure.
 */

const SECONDS = { minute: 60, hour: 3600, day: 86_400 };

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const DAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

/** The fields of a cron expression: the range of numbers, their names from the lowest number, and other forms. */
const FIELDS = [
  { min: 0, max: 59, names: [], other: /^$/ },
  { min: 0, max: 23, names: [], other: /^$/ },
  { min: 1, max: 31, names: [], other: /^(\?|L|LW|([1-9]|[12]\d|3[01])W)$/ },
  { min: 1, max: 12, names: MONTHS, other: /^$/ },
  { min: 1, max: 7, names: DAYS, other: /^(\?|L|([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5]))$/ },
  { min: 1970, max: 2199, names: [], other: /^$/ },
];

/** @param {string} expression */
export function isSchedule(expression) {
  const [, kind, inner] = /^(rate|cron|at)\((.*)\)$/.exec(expression) ?? [];
  switch (kind) {
    case 'rate':
      return rateSeconds(inner) !== undefined;
    case 'cron':
      return isCron(inner.split(/ +/));
    case 'at':
      return isTime(inner);
    default:
      return false;
  }
}

/**
 * The longest time between two executions in seconds, for a rate, and for a cron expression without a date, which fires at
 * least once a day. Undefined for all others, which need a calendar.
 *
 * @param {string} expression
 * @returns {number | undefined}
 */
export function longestGap(expression) {
  const [, kind, inner] = /^(rate|cron|at)\((.*)\)$/.exec(expression) ?? [];
  if (kind === 'rate') return rateSeconds(inner);
  if (kind !== 'cron') return undefined;
  const [, , ...date] = inner.split(/ +/);
  return date.every((field) => field === '*' || field === '?') ? SECONDS.day : undefined;
}

/** JavaScript takes February 30 for March 2. */
function isTime(inner) {
  const time = new Date(`${inner}Z`);
  return !Number.isNaN(time.getTime()) && time.toISOString() === `${inner}.000Z`;
}

function rateSeconds(inner) {
  const [, value, unit] = /^([1-9]\d{0,6}) (minute|hour|day)s?$/.exec(inner) ?? [];
  return value === undefined ? undefined : Number(value) * SECONDS[unit];
}

function isCron(fields) {
  if (fields.length !== FIELDS.length || !fields.every((field, index) => isField(field, FIELDS[index]))) return false;
  // Exactly one of the two day fields is a question mark.
  return (fields[2] === '?') !== (fields[4] === '?');
}

function isField(field, { min, max, names, other }) {
  if (field === '*' || other.test(field)) return true;
  const number = (text) => (names.includes(text.toUpperCase()) ? names.indexOf(text.toUpperCase()) + 1 : Number(text));
  const fits = (text) => /^(\d+|[A-Za-z]{3})$/.test(text) && number(text) >= min && number(text) <= max;
  return field.split(',').every((item) => {
    const [range = '', step, ...rest] = item.split('/');
    if (rest.length > 0 || (step !== undefined && !/^[1-9]\d*$/.test(step))) return false;
    if (range === '*') return step !== undefined;
    const bounds = range.split('-');
    return bounds.length <= 2 && bounds.every(fits) && number(bounds[0]) <= number(bounds.at(-1));
  });
}
