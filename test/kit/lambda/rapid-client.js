/**
 * Replaces the native module of aws-lambda-ric (src/native/rapid-client.cc), which needs a compiler: it requests events
 * from the Runtime API, and sends their results. There its calls block; here each call waits for the previous one.
 */
import { Agent, request } from 'node:http';

const BASE = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

let told = Promise.resolve();

export async function next() {
  await told;
  const { body, headers } = await call('GET', '/next');
  return { bodyJson: body, headers };
}

/** @param {string} id the request's, ready for a path */
export function done(id, response) {
  told = call('POST', `/${id}/response`, response);
}

export function error(id, response) {
  told = call('POST', `/${id}/error`, response);
}

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    request(`${BASE}${path}`, { method, agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ body: text, headers: response.headers })).on('error', reject);
    })
      .on('error', reject)
      .end(body);
  });
}
