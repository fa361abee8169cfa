/** The functions whose memory is not a parameter have this much, in MB. */
const SMALL = 256;

/**
 * The metrics of the alarm on `lambdaGbSecondsPerDay`: the sum over all functions that the template has. Durations are in milliseconds,
 * and memory is in MB.
 *
 * @param {Record<string, string>} parameters
 */
export function gbSecondsOf({ resolverMemory, layerMemory, finalizerMemory, registry, registryMemory }) {
  const functions = [
    { id: 'resolver', logicalId: 'Resolver', memory: resolverMemory },
    { id: 'layer', logicalId: 'Layer', memory: layerMemory },
    { id: 'finalizer', logicalId: 'Finalizer', memory: finalizerMemory },
    { id: 'webhook', logicalId: 'Webhook', memory: SMALL },
    { id: 'deadLetters', logicalId: 'DeadDashletters', memory: SMALL },
    { id: 'runs', logicalId: 'Runs', memory: SMALL },
    ...(registry === 'off' ? [] : [{ id: 'registry', logicalId: 'Registry', memory: registryMemory }]),
  ];
  const terms = functions.map(({ id, memory }) => `FILL(${id}, 0) * ${memory}`);
  return [
    { Id: 'gbSeconds', Label: 'GB-seconds', Expression: `(${terms.join(' + ')}) / 1024000` },
    ...functions.map(({ id, logicalId }) => ({
      Id: id,
      ReturnData: false,
      MetricStat: {
        Stat: 'Sum',
        Period: 86_400,
        Metric: {
          Namespace: 'AWS/Lambda',
          MetricName: 'Duration',
          Dimensions: [{ Name: 'FunctionName', Value: { Ref: `${logicalId}LambdaFunction` } }],
        },
      },
    })),
  ];
}
