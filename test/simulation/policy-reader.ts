/** A client that asks `serve` for withheld content: held tags and digests, lists, and earlier times. */
import type { Response } from './reader.ts';
import { digestAt, nameOf, type State } from './raw-index.ts';
import type { System } from './system.ts';
import { Violation } from './violation.ts';

type Get = (target: string) => Promise<Response>;

interface Question {
  readonly system: System;
  readonly repository: string;
  /** Names the decisions of the client. */
  readonly name: string;
  readonly get: Get;
}

/** Asks one question about a repository with a policy. @throws Violation */
export async function readPolicies(question: Question): Promise<void> {
  const { system, name } = question;
  const questions = [heldTag, heldDigest, heldReferrers, past, past, tags] as const;
  await system.world.pick(`question ${name}`, questions)(question);
}

interface Answer {
  readonly response: Response;
  /** The states of the repository while the request was answered. */
  readonly states: readonly State[];
}

async function ask({ system, repository, get }: Question, path: string, at = ''): Promise<Answer | undefined> {
  const { world, policies } = system;
  const began = world.now;
  const response = await get(`/v2/${at}${repository}/${path}`);
  if (response.status >= 500) return undefined;
  return { response, states: policies.statesOf(repository, began, world.now) };
}

function visible(state: State, tag: string): string | undefined {
  return state.entries.find((entry) => entry.tag === tag)?.digest;
}

/** Whether a response denies a held digest. */
function isDenied({ status, bytes }: Response): boolean {
  const text = Buffer.from(bytes).toString('utf8');
  return status === 403 && text.includes('DENIED') && text.includes('held until');
}

async function heldTag(question: Question): Promise<void> {
  const { system, repository, name } = question;
  const all = system.audit.stateOf(repository)?.held.flatMap(({ tag }) => tag ?? []) ?? [];
  if (all.length === 0) return;
  const tag = system.world.pick(`held tag ${name}`, all);
  const answer = await ask(question, `manifests/${tag}`);
  if (answer === undefined) return;
  const { response, states } = answer;
  const allowed = states.map((state) => visible(state, tag));
  if (response.status === 200 && !allowed.includes(response.digest))
    throw new Violation(`serve sent ${String(response.digest)} for ${repository}:${tag}, which is not visible`);
  const isHeld = states.every((state) => state.held.some((entry) => entry.tag === tag));
  if (isHeld && allowed.every((digest) => digest === undefined) && !isDenied(response))
    throw new Violation(`serve answered ${response.status} for ${repository}:${tag}, which is held`);
}

/** A digest that is held under some name. */
function held({ system, repository, name }: Question): string | undefined {
  const all = system.audit.stateOf(repository)?.held.map(({ digest }) => digest) ?? [];
  return all.length === 0 ? undefined : system.world.pick(`held digest ${name}`, all);
}

function isReachable({ audit }: System, states: readonly State[], digest: string): boolean {
  return states.some(({ entries }) => entries.some((entry) => audit.manifestsBelow(entry.digest).has(digest)));
}

async function heldDigest(question: Question): Promise<void> {
  const { system, repository } = question;
  const digest = held(question);
  const answer = digest === undefined ? undefined : await ask(question, `manifests/${digest}`);
  if (digest === undefined || answer === undefined || isReachable(system, answer.states, digest)) return;
  const { response, states } = answer;
  if (response.status === 200) throw new Violation(`serve sent ${digest} of ${repository}, which is held`);
  const isHeld = states.every((state) => state.held.some((entry) => entry.digest === digest));
  if (isHeld && !isDenied(response))
    throw new Violation(`serve answered ${response.status} for ${repository}@${digest}, which is held`);
}

async function heldReferrers(question: Question): Promise<void> {
  const { system, repository } = question;
  const digest = held(question);
  const answer = digest === undefined ? undefined : await ask(question, `referrers/${digest}`);
  if (digest === undefined || answer === undefined || isReachable(system, answer.states, digest)) return;
  const { manifests = [] } = jsonOf(answer.response) as { manifests?: readonly unknown[] };
  const isHeld = answer.states.every((state) => state.held.some((entry) => entry.digest === digest));
  if (isHeld && manifests.length > 0)
    throw new Violation(`serve lists the referrers of ${repository}@${digest}, which is held`);
}

/** A tag at an earlier time. */
async function past(question: Question): Promise<void> {
  const { system, repository, name } = question;
  const { world, audit } = system;
  const { entries = [], held: withheld = [] } = audit.stateOf(repository) ?? {};
  const names = [...new Set([...entries, ...withheld].map(nameOf))].filter((tag) => tag !== '').sort();
  if (names.length === 0) return;
  const tag = world.pick(`past tag ${name}`, names);
  const times = [...entries, ...withheld].flatMap(({ observations, hidden }) => [...observations, ...hidden]);
  const from = Math.min(...times) - 60_000;
  // Shortly after an observation, or at any time.
  const any = from + world.chance(`past ${name}`) * (world.now - from);
  const near = world.pick(`observation ${name}`, times) + 1_000 * world.chance(`past ${name}`);
  const at = Math.floor((world.chance(`near ${name}`) < 0.5 ? near : any) / 1_000) * 1_000;
  const time = new Date(at).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').toLowerCase();
  const answer = await ask(question, `manifests/${tag}`, `at-${time}z/`);
  if (answer === undefined) return;
  const { response, states } = answer;
  const allowed = states.map((state) => digestAt(state, tag, at));
  const found = response.status === 200 ? response.digest : undefined;
  const isExcused = allowed.some((digest) => digest !== undefined && audit.isDamaged(digest, 0));
  if (!allowed.includes(found) && !isExcused)
    throw new Violation(`serve sent ${String(found)} for ${repository}:${tag} at ${time}`);
}

async function tags(question: Question): Promise<void> {
  const { repository, get, system } = question;
  const answer = await ask(question, 'tags/list');
  if (answer === undefined) return;
  const { response, states } = answer;
  const { tags: listed = [] } = jsonOf(response) as { tags?: readonly string[] };
  for (const tag of listed)
    if (states.every((state) => visible(state, tag) === undefined))
      throw new Violation(`serve lists ${repository}:${tag}, which is not visible`);
  for (const { tag } of states[0]?.entries ?? [])
    if (tag !== undefined && !listed.includes(tag) && states.every((state) => visible(state, tag) !== undefined))
      throw new Violation(`serve does not list ${repository}:${tag}`);
  const { repositories = [] } = jsonOf(await get('/v2/_catalog')) as { repositories?: readonly string[] };
  for (const each of repositories)
    if (!system.audit.repositories().includes(each)) throw new Violation(`serve lists ${each}, which does not exist`);
}

function jsonOf({ status, bytes }: Response): unknown {
  return status === 200 ? JSON.parse(Buffer.from(bytes).toString('utf8')) : {};
}
