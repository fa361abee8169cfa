/**
 * A plug-in of osls. Before `deploy` changes anything, it compares the settings with AWS, which packaging, offline, cannot do. If
 * the deployer lacks a permission, a check is skipped, and AWS decides.
 */
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { plain } from './parameters.js';

export default class DeploymentGuard {
  #serverless;
  #provider;

  /** @param {any} serverless */
  constructor(serverless) {
    this.#serverless = serverless;
    this.#provider = serverless.getProvider('aws');
    this.hooks = { 'before:deploy:deploy': () => this.#check() };
  }

  async #check() {
    const { settings } = this.#serverless.service.custom;
    const { naming } = this.#provider;
    const config = await this.#provider.getAwsSdkV3Config();
    // The clients that osls uses.
    const require = createRequire(realpathSync(process.argv[1]));
    const ask = async (client, command, request) => {
      const sdk = require(`@aws-sdk/client-${client.toLowerCase()}`);
      return new sdk[`${client}Client`](config).send(new sdk[`${command}Command`](request));
    };
    await refuseOtherArchive(ask, naming.getStackName(), settings.guard);
    await refuseDroppedSecrets(ask, naming.getStackName(), settings.guard);
    await refuseBucket(ask, this.#provider.getRegion(), settings.guard);
    const nameOf = (id) => this.#serverless.service.getFunction(id).name;
    await refuseReservations(ask, nameOf, settings.guard);
  }
}

/**
 * Refuses to move a deployed archive: with another URL the functions would start in an empty archive, and with another `bucket`
 * CloudFormation would replace the old bucket.
 *
 * @param {Ask} ask
 * @param {string} stack
 * @param {Pick<Guard, 'bucket' | 'existingBucket' | 'prefix'>} guard
 */
export async function refuseOtherArchive(ask, stack, { bucket, existingBucket, prefix }) {
  const found = await tolerant(ask('CloudFormation', 'DescribeStacks', { StackName: stack }));
  const deployed = found?.Stacks?.[0]?.Outputs?.find(({ OutputKey }) => OutputKey === 'Archive')?.OutputValue;
  // The stack does not exist, or its first deployment failed.
  if (deployed === undefined) return;
  let name = existingBucket || bucket;
  if (name === '') {
    // AWS generated the name (`<stack>-<logical id>-<random>`, each part cut to 24), unless the last deployment named it.
    const resource = { StackName: stack, LogicalResourceId: 'ArchiveBucket' };
    const created = await tolerant(ask('CloudFormation', 'DescribeStackResource', resource));
    const physical = created?.StackResourceDetail?.PhysicalResourceId ?? '';
    name = /-archivebucket-[a-z0-9]+$/.test(physical) ? physical : '(a new bucket)';
  }
  const wanted = `s3://${name}/${prefix}`;
  if (wanted !== deployed)
    throw plain(
      `deploy archive: expected ${deployed}, which ${stack} has, got ${wanted}; give bucket, existingBucket and prefix as in the ` +
        `last deployment (which keeps no --param), or remove ${stack}, which keeps the bucket, and deploy again with existingBucket`,
    );
}

/** The parameters that a secret follows from. */
const SECRET_OF = {
  CredentialsSecret: 'credentialsSecret',
  RegistryTokens: 'registry and registryAccess',
  RunWebhookSecret: 'runWebhook',
};

/**
 * Refuses to delete a deployed secret that the template does not have any more: CloudFormation would delete it at once, with the
 * text that a person has stored in it.
 *
 * @param {Ask} ask
 * @param {string} stack
 * @param {Pick<Guard, 'credentialsSecret' | 'droppedSecrets' | 'deleteSecrets'>} guard
 */
export async function refuseDroppedSecrets(ask, stack, { credentialsSecret, droppedSecrets, deleteSecrets }) {
  const details = await Promise.all(
    droppedSecrets.map(async (id) => {
      const resource = { StackName: stack, LogicalResourceId: id };
      return (await tolerant(ask('CloudFormation', 'DescribeStackResource', resource)))?.StackResourceDetail;
    }),
  );
  const deployed = details.filter((each) => each !== undefined && each.ResourceStatus !== 'DELETE_COMPLETE');
  if (deployed.some(({ PhysicalResourceId }) => PhysicalResourceId === credentialsSecret))
    throw plain(
      `deploy secrets: credentialsSecret is the secret that ${stack} has created (this deployment would delete it); ` +
        'leave credentialsSecret empty',
    );
  if (deployed.length === 0 || deleteSecrets) return;
  const ids = deployed.map(({ LogicalResourceId }) => LogicalResourceId);
  throw plain(
    `deploy secrets: ${stack} has ${ids.join(' and ')}, which this deployment would delete with the stored text ` +
      `(${deployed.map(({ PhysicalResourceId }) => PhysicalResourceId).join(', ')}); give ${ids.map((id) => SECRET_OF[id]).join(', ')} ` +
      'as in the last deployment (which keeps no --param), or add --param deleteSecrets=on',
  );
}

/**
 * @param {Ask} ask
 * @param {string} region
 * @param {Pick<Guard, 'existingBucket'>} guard
 */
export async function refuseBucket(ask, region, { existingBucket }) {
  if (existingBucket === '') return;
  let actual;
  try {
    actual = (await ask('S3', 'HeadBucket', { Bucket: existingBucket })).BucketRegion;
  } catch (error) {
    if (error.$metadata?.httpStatusCode === 404)
      throw plain(
        `deploy archive: the bucket ${existingBucket} does not exist; create it, or leave existingBucket empty`,
      );
    // S3 sends the region even if listing is denied.
    actual = error.$response?.headers?.['x-amz-bucket-region'];
  }
  if (actual !== undefined && actual !== region)
    throw plain(
      `deploy archive: expected the bucket ${existingBucket} in ${region}, which is deployed to, but it is in ${actual}; ` +
        `deploy with --region ${actual}`,
    );
}

/** The function of each reservation. */
const RESERVED_FOR = { webhookConcurrency: 'webhook', registryConcurrency: 'registry' };

/**
 * Lambda keeps 100 of an account's concurrency (or all of a smaller quota) for functions without a reservation.
 *
 * @param {Ask} ask
 * @param {(id: string) => string} nameOf the name of a function
 * @param {Pick<Guard, 'reserved'>} guard
 */
export async function refuseReservations(ask, nameOf, { reserved }) {
  const parameters = Object.keys(reserved);
  if (parameters.length === 0) return;
  const account = (await tolerant(ask('Lambda', 'GetAccountSettings', {})))?.AccountLimit;
  if (account?.UnreservedConcurrentExecutions === undefined) return;
  const { ConcurrentExecutions: all, UnreservedConcurrentExecutions: unreserved } = account;
  const own = await Promise.all(
    parameters.map(async (parameter) => {
      const request = { FunctionName: nameOf(RESERVED_FOR[parameter]) };
      return (await tolerant(ask('Lambda', 'GetFunctionConcurrency', request)))?.ReservedConcurrentExecutions ?? 0;
    }),
  );
  const free = unreserved + sum(own) - Math.min(100, all);
  const wanted = sum(Object.values(reserved));
  if (wanted > free)
    throw plain(
      `reserve concurrency: expected at most ${Math.max(0, free)} for ${parameters.join(' and ')} (the account has ${all} in this region), ` +
        `got ${wanted}; add ${parameters.map((each) => `--param ${each}=off`).join(' ')} (nothing is reserved), or raise the quota`,
    );
}

function sum(numbers) {
  return numbers.reduce((total, each) => total + each, 0);
}

/** Returns undefined after an error, so that the check is skipped. */
async function tolerant(answer) {
  try {
    return await answer;
  } catch {
    return undefined;
  }
}

/**
 * @typedef {(client: string, command: string, request: object) => Promise<any>} Ask
 * @typedef {{
 *   bucket: string,
 *   existingBucket: string,
 *   prefix: string,
 *   credentialsSecret: string,
 *   droppedSecrets: readonly string[],
 *   deleteSecrets: boolean,
 *   reserved: Record<string, number>,
 * }} Guard
 */
