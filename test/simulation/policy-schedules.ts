/** Adds policies to a schedule: to the texts of mirror.yaml, with situations that exercise them. */
import type { Action } from './actions.ts';
import { IMAGES } from './images.ts';
import type { World } from './world.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The share of schedules with policies. */
const SHARE = 0.35;
const AGES = { '10m': 10 * MINUTE, '2h': 2 * HOUR, '1d': DAY, '7d': 7 * DAY } as const;
type Age = keyof typeof AGES;

interface Target {
  readonly repository: string;
  readonly tag: string;
}

interface Place {
  readonly repositories: readonly string[];
  readonly tags: readonly string[];
  /** The configuration of all repositories, without policies. */
  readonly whole: string;
}

export interface WithPolicies {
  readonly actions: readonly Action[];
  /** The configuration at the end of the schedule. */
  readonly ending: string;
}

/** Adds policies to some schedules; undefined for the others. */
export function withPolicies(dice: World, actions: readonly Action[], place: Place): WithPolicies | undefined {
  return dice.chance('has policies') < SHARE ? new Policies(dice, actions, place).all() : undefined;
}

class Policies {
  readonly #dice: World;
  readonly #place: Place;
  #actions: Action[];
  #rolls = 0;
  /** The age that most of the policies have. */
  readonly #age: Age;

  constructor(dice: World, actions: readonly Action[], place: Place) {
    this.#dice = dice;
    this.#place = place;
    this.#age = this.#pick(['10m', '10m', '2h', '2h', '1d', '7d']);
    // The situations that this class adds replace a part of the other actions, so that a schedule stays short.
    this.#actions = actions.filter(
      ({ do: what }, index) => index === 0 || what === 'configure' || this.#chance() < 0.6,
    );
  }

  #chance(): number {
    return this.#dice.chance(`policy ${(this.#rolls += 1)}`);
  }

  #below(limit: number): number {
    return Math.floor(this.#chance() * limit);
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#below(values.length)] as T;
  }

  #some(): Target {
    return { repository: this.#pick(this.#place.repositories), tag: this.#pick(this.#place.tags) };
  }

  all(): WithPolicies {
    const isLate = this.#chance() < 0.25;
    const enabledAt = isLate ? this.#below(3 * HOUR) : 0;
    this.#actions = this.#actions.map((action) =>
      action.do === 'configure' && action.at >= enabledAt ? { ...action, text: this.#with(action.text) } : action,
    );
    const enabled = this.#with(this.#place.whole);
    this.#actions.push({ at: enabledAt + this.#below(MINUTE), do: 'configure', text: enabled });
    const situations = [
      () => this.#months(enabledAt),
      () => this.#backAndForth(enabledAt),
      () => this.#release(enabledAt),
      () => this.#reject(enabledAt),
      () => this.#kept(enabledAt),
      () => this.#laptop(enabledAt),
      () => this.#loosened(enabledAt),
    ];
    const count = 1 + this.#below(2);
    for (let index = 0; index < count; index += 1) this.#pick(situations)();
    if (this.#chance() < 0.6) this.#actions.push({ at: enabledAt + this.#below(HOUR), do: 'close' });
    if (this.#chance() < 0.6) this.#read(enabledAt + this.#below(AGES[this.#age]));
    const last = this.#actions
      .filter(({ do: what }) => what === 'configure')
      .sort((a, b) => a.at - b.at)
      .at(-1);
    const isKept = this.#chance() < 0.75 && last?.do === 'configure' && last.text.includes('platforms');
    return { actions: this.#actions, ending: isKept ? this.#policiesOf(last.text) : this.#place.whole };
  }

  /** The whole configuration with the policies of another one. */
  #policiesOf(text: string): string {
    const [, common] = /^defaults:\n {2}policy: (\{.*\})\n/m.exec(text) ?? [];
    const own = new Map(
      [...text.matchAll(/- source: (\S+)\n(?: {4}\w+: .*\n)*? {4}policy: (\{.*\})\n/g)].map((each) => [
        each[1],
        each[2],
      ]),
    );
    const mirrors = this.#place.whole.replaceAll(
      /- source: (\S+)\n {4}tags: .*\n {4}platforms: .*\n/g,
      (mirror, source: string) => {
        const policy = own.get(source);
        return policy === undefined ? mirror : `${mirror}    policy: ${policy}\n`;
      },
    );
    return common === undefined ? mirrors : mirrors.replace('mirrors:\n', `defaults:\n  policy: ${common}\nmirrors:\n`);
  }

  /** A configuration with a policy for all mirrors, for some of them, or both. */
  #with(text: string): string {
    if (!text.includes('platforms')) return text;
    const isCommon = this.#chance() < 0.7;
    const some = text.replaceAll(/ {4}platforms: .*\n/g, (line) =>
      this.#chance() < (isCommon ? 0.2 : 0.8) ? `${line}    policy: ${this.#policy()}\n` : line,
    );
    return isCommon ? some.replace('mirrors:\n', `defaults:\n  policy: ${this.#policy()}\nmirrors:\n`) : some;
  }

  #policy(): string {
    const hasAge = this.#chance() < 0.85;
    const age = this.#chance() < 0.8 ? this.#age : this.#pick(Object.keys(AGES) as Age[]);
    return JSON.stringify({
      ...(hasAge ? { minimumAge: age } : {}),
      ...(this.#chance() < 0.3 ? { initial: 'accept' } : {}),
      ...(this.#chance() < 0.4 || !hasAge ? { moved: this.#pick(['follow', 'keep', 'keep', 'fail']) } : {}),
      ...(this.#chance() < 0.1 ? { referrers: 'none' } : {}),
    });
  }

  #push(at: number, target: Target, image: number): void {
    this.#actions.push({ at, do: 'push', ...target, image: image % IMAGES.length });
  }

  /** A run, a webhook, a request or a sync that mirrors a tag. */
  #mirror(at: number, { repository, tag }: Target): void {
    const how = this.#chance();
    if (how < 0.5) this.#actions.push({ at, do: 'run' });
    else if (how < 0.75) this.#actions.push({ at, do: 'webhook', repository, tag });
    else if (how < 0.85) this.#actions.push({ at, do: 'request', reference: `${repository}:${tag}` });
    else this.#actions.push({ at, do: 'sync', reference: `${repository}:${tag}`, isConfigured: this.#chance() < 0.5 });
  }

  #read(at: number): void {
    this.#actions.push({ at, do: 'read', times: 2 + this.#below(4) });
  }

  /** Some times shortly before and after the end of a period. */
  #aroundTheEnd(from: number, target: Target): void {
    const end = from + AGES[this.#age];
    for (let count = 1 + this.#below(3); count > 0; count -= 1)
      this.#mirror(Math.max(end + Math.floor((this.#chance() - 0.4) * 3 * MINUTE), from), target);
    if (this.#chance() < 0.3) this.#read(end - this.#below(2 * MINUTE));
  }

  /** Months with moves, runs and webhooks, some of them at the end of a period. */
  #months(since: number): void {
    const target = this.#some();
    let at = since + this.#below(HOUR);
    for (let moves = 2 + this.#below(2); moves > 0; moves -= 1) {
      this.#push(at, target, this.#below(IMAGES.length));
      this.#mirror(at + 1_000 + this.#below(MINUTE), target);
      if (this.#chance() < 0.5) this.#mirror(at + this.#below(AGES[this.#age]), target);
      this.#aroundTheEnd(at, target);
      at += this.#pick([this.#below(AGES[this.#age]), this.#below(30 * DAY)]);
    }
  }

  /** A tag that moves away and back while its digest is held. */
  #backAndForth(since: number): void {
    const target = this.#some();
    const from = since + this.#below(10 * MINUTE);
    const [image, other] = [this.#below(IMAGES.length), this.#below(IMAGES.length)];
    const step = Math.floor(AGES[this.#age] / 4);
    let at = from;
    for (const each of [image, other, image]) {
      this.#push(at, target, each);
      this.#mirror(at + 1_000 + this.#below(MINUTE), target);
      at += MINUTE + this.#below(step);
    }
    this.#aroundTheEnd(from, target);
    this.#mirror(from + AGES[this.#age] + this.#below(AGES[this.#age]), target);
  }

  #reference({ repository, tag }: Target, image: number): string {
    const { digest } = IMAGES[image % IMAGES.length]!;
    return this.#pick([
      `${repository}:${tag}`,
      `${repository}:${tag}`,
      `${repository}:${tag}@${digest}`,
      `${repository}@${digest}`,
    ]);
  }

  /** A release while an image is held, while a finalizer works, or of an image that is not mirrored yet. */
  #release(since: number): void {
    const target = this.#some();
    const from = since + this.#below(10 * MINUTE);
    const image = this.#below(IMAGES.length);
    this.#push(from, target, image);
    this.#mirror(from + 1_000, target);
    const at = from + this.#pick([this.#below(20_000), MINUTE + this.#below(5 * MINUTE)]);
    this.#actions.push({ at, do: 'release', reference: this.#reference(target, image + this.#pick([0, 0, 0, 1])) });
    if (this.#chance() < 0.5) this.#read(at);
    if (this.#chance() < 0.5) this.#push(at + this.#below(MINUTE), target, image + 1);
    this.#mirror(at + Math.floor((this.#chance() - 0.3) * 20_000), target);
    if (this.#chance() < 0.3)
      this.#actions.push({ at: at + this.#below(MINUTE), do: 'release', reference: this.#reference(target, image) });
  }

  /** A rejected digest that returns, under the same tag and under another one. */
  #reject(since: number): void {
    const target = this.#some();
    const from = since + this.#below(10 * MINUTE);
    const image = this.#below(IMAGES.length);
    this.#push(from, target, image);
    this.#mirror(from + 1_000, target);
    const at = from + this.#pick([this.#below(20_000), this.#below(2 * AGES[this.#age])]);
    this.#actions.push({ at, do: 'reject', reference: this.#reference(target, image) });
    this.#push(at + this.#below(MINUTE), target, image + this.#pick([0, 1]));
    if (this.#chance() < 0.5) this.#push(at + this.#below(MINUTE), this.#some(), image);
    this.#mirror(at + this.#below(2 * MINUTE), target);
    this.#push(at + 3 * MINUTE, target, image);
    this.#mirror(at + 4 * MINUTE + this.#below(AGES[this.#age]), target);
    if (this.#chance() < 0.3) this.#read(at);
    if (this.#chance() < 0.3)
      this.#actions.push({ at: at + this.#below(HOUR), do: 'release', reference: this.#reference(target, image) });
  }

  /** A visible tag that moves upstream under `moved: keep` or `fail`. */
  #kept(since: number): void {
    const target = this.#some();
    const from = since + this.#below(10 * MINUTE);
    const image = this.#below(IMAGES.length);
    const policy = { ...(this.#chance() < 0.3 ? { minimumAge: '10m' } : {}), moved: this.#pick(['keep', 'fail']) };
    const text = this.#place.whole.replace('mirrors:\n', `defaults:\n  policy: ${JSON.stringify(policy)}\nmirrors:\n`);
    this.#push(from, target, image);
    this.#mirror(from + 1_000, target);
    const at = from + this.#below(HOUR);
    this.#actions.push({ at, do: 'configure', text });
    this.#push(at + this.#below(15 * MINUTE), target, image + 1 + this.#below(IMAGES.length - 1));
    for (let count = 2 + this.#below(2); count > 0; count -= 1) this.#mirror(at + this.#below(HOUR), target);
    if (this.#chance() < 0.4) {
      this.#actions.push({ at: at + 30 * MINUTE, do: 'damage', blob: this.#below(20) });
      this.#actions.push({ at: at + 31 * MINUTE + this.#below(5 * MINUTE), do: 'verify' });
      this.#mirror(at + 40 * MINUTE, target);
    }
    if (this.#chance() < 0.3)
      this.#actions.push({ at: at + this.#below(HOUR), do: 'release', reference: this.#reference(target, image + 1) });
  }

  /** A laptop without mirror.yaml mirrors a tag that is held. */
  #laptop(since: number): void {
    const target = this.#some();
    const from = since + this.#below(10 * MINUTE);
    this.#push(from, target, this.#below(IMAGES.length));
    this.#mirror(from + 1_000, target);
    const { repository, tag } = target;
    for (let count = 1 + this.#below(3); count > 0; count -= 1)
      this.#actions.push({
        at: from + this.#below(5 * MINUTE),
        do: 'sync',
        reference: this.#pick([repository, `${repository}:${tag}`]),
      });
    if (this.#chance() < 0.5) this.#read(from + this.#below(5 * MINUTE));
    this.#aroundTheEnd(from, target);
  }

  /** Another policy, or none, while an image is held. */
  #loosened(since: number): void {
    const target = this.#some();
    const from = since + this.#below(10 * MINUTE);
    this.#push(from, target, this.#below(IMAGES.length));
    this.#mirror(from + 1_000, target);
    if (this.#chance() < 0.5) this.#mirror(from + this.#below(AGES[this.#age]), target);
    const at = from + this.#pick([this.#below(MINUTE), this.#below(AGES[this.#age])]);
    const text = this.#chance() < 0.5 ? this.#place.whole : this.#with(this.#place.whole);
    this.#actions.push({ at, do: 'configure', text });
    for (let count = 1 + this.#below(2); count > 0; count -= 1) this.#mirror(at + this.#below(10 * MINUTE), target);
    if (this.#chance() < 0.4)
      this.#actions.push({ at: at + this.#below(HOUR), do: 'configure', text: this.#with(this.#place.whole) });
  }
}
