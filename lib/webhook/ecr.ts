import { Failure } from '../core/failure.ts';
import { Place } from '../oci/document.ts';
import { isTag, parseRepository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import type { Verdict } from './delivery.ts';
import { ecrHosts } from './ecr-hosts.ts';
import { pushed } from './senders.ts';

/**
 * Reads an EventBridge event of a push to Amazon ECR
 * (https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html). IAM controls the access to the event bus,
 * so the sender is not authenticated here.
 */
export function translateEcr(event: unknown): Verdict {
  try {
    const root = new Place('read ECR event', '', event);
    const type = root.at('detail-type').text();
    if (root.at('source').text() !== 'aws.ecr' || type !== 'ECR Image Action')
      return { kind: 'ignored', reason: `the event ${show(type)} is not an image action of ECR` };
    const detail = root.at('detail');
    const action = detail.at('action-type').text();
    if (action !== 'PUSH' || detail.at('result').text() !== 'SUCCESS')
      return { kind: 'ignored', reason: `${show(action)} is not a successful push` };
    const hosts = ecrHosts(root.at('account').text(), root.at('region').text());
    const name = detail.at('repository-name').text();
    const [tag, digest] = [detail.at('image-tag').optionalText(), detail.at('image-digest').optionalText()];
    if (tag !== undefined && !isTag(tag)) throw detail.at('image-tag').fail(`${show(tag)} is not a tag`);
    const items = hosts.map((host) => pushed(parseRepository(`${host}/${name}`), tag, digest));
    return { kind: 'pushed', sender: 'ecr', items };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { kind: 'refused', status: 400, reason: error.message };
  }
}
