/** The logs of functions: lines of JSON, and metrics in CloudWatch's embedded format. */
type Line = Readonly<Record<string, unknown>>;

interface Embedded {
  readonly _aws: {
    readonly CloudWatchMetrics: readonly {
      readonly Dimensions: readonly (readonly string[])[];
      readonly Metrics: readonly { readonly Name: string }[];
    }[];
  };
}

function parsed(lines: readonly string[]): Line[] {
  return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Line);
}

/** The lines with a message. */
export function saidIn(lines: readonly string[]): Line[] {
  return parsed(lines).filter((line) => !('_aws' in line));
}

/** The sum of each metric: `ImagesFailed`; with a dimension in addition to the service, `ImagesFailedByCode denied`. */
export function metricsIn(lines: readonly string[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const line of parsed(lines)) {
    if (!('_aws' in line)) continue;
    for (const { Dimensions, Metrics } of (line as unknown as Embedded)._aws.CloudWatchMetrics) {
      const more = Dimensions.flat().filter((name) => name !== 'service');
      for (const { Name } of Metrics) {
        const name = [Name, ...more.map((dimension) => String(line[dimension]))].join(' ');
        sums[name] = [line[Name]].flat().reduce<number>((sum, value) => sum + Number(value), sums[name] ?? 0);
      }
    }
  }
  return sums;
}
