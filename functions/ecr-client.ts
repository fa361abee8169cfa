import { type AuthorizationData, ECRClient, GetAuthorizationTokenCommand } from '@aws-sdk/client-ecr';
import { SMALL_REQUESTS } from '../lib/app/aws-requests.ts';

/** Requests a token for all registries of a region. In a deployment, this is a file of its own. */
export async function authorizationFor(region: string, fips: boolean): Promise<AuthorizationData | undefined> {
  const client = new ECRClient({ region, useFipsEndpoint: fips, ...SMALL_REQUESTS });
  try {
    const { authorizationData: [data] = [] } = await client.send(new GetAuthorizationTokenCommand({}));
    return data;
  } finally {
    client.destroy();
  }
}
