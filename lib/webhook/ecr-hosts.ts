/**
 * The hosts of private registries of Amazon ECR (https://docs.aws.amazon.com/general/latest/gr/ecr.html). Pure.
 */

/** The suffixes of a partition, by the beginning of its regions: for IPv4 alone, and with IPv6 where AWS documents one. */
const SUFFIXES: readonly (readonly [regions: string, plain: string, dualStack?: string])[] = [
  ['cn-', 'amazonaws.com.cn', 'on.amazonwebservices.com.cn'],
  ['eusc-', 'amazonaws.eu'],
  ['us-iso-', 'c2s.ic.gov'],
  ['us-isob-', 'sc2s.sgov.gov'],
  ['us-isof-', 'csp.hci.ic.gov'],
  ['eu-isoe-', 'cloud.adc-e.uk'],
  ['', 'amazonaws.com', 'on.aws'],
];

/** The names of a registry; a configuration uses any of them. */
export function ecrHosts(account: string, region: string): readonly string[] {
  const [, plain, dualStack] = SUFFIXES.find(([regions]) => region.startsWith(regions)) ?? [];
  return ['', '-fips'].flatMap((fips) => [
    `${account}.dkr.ecr${fips}.${region}.${plain}`,
    ...(dualStack === undefined ? [] : [`${account}.dkr-ecr${fips}.${region}.${dualStack}`]),
  ]);
}

export interface EcrPlace {
  readonly region: string;
  readonly fips: boolean;
}

/** The region of a registry; undefined for a host that is not one of ECR. */
export function ecrPlaceOf(host: string): EcrPlace | undefined {
  const [, account, fips, region] = /^(\d{12})\.dkr[.-]ecr(-fips)?\.([a-z0-9-]+)\./.exec(host) ?? [];
  if (account === undefined || region === undefined || !ecrHosts(account, region).includes(host)) return undefined;
  return { region, fips: fips !== undefined };
}
