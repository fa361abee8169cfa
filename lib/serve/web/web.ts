/** Pages for browsers. An image's page has the address of the image: `/docker.io/library/alpine:3.20`. */
import { basicAsOfTime } from '../../core/as-of.ts';
import { show } from '../../oci/show.ts';
import { RegistryError } from '../errors.ts';
import type { PageRoute } from '../routes.ts';
import type { Context, PageRequest } from './context.ts';
import { type Page, pageResponse, prefixOf } from './document.ts';
import { homePage } from './home.ts';
import { imagePage } from './image.ts';
import { addressOf } from './pull.ts';
import { repositoryPage } from './repository.ts';

/** @throws RegistryError for a page about something that the archive lacks */
export async function answerPage(context: Context, request: Request, route: PageRoute): Promise<Response> {
  const day = route.parameters.get('at');
  if (day !== null) return redirect(`${prefixOf(endOf(day))}${route.address}`);
  return pageResponse(request, await pageOf(context, request, route));
}

async function pageOf(context: Context, request: Request, { image, asOf, parameters }: PageRoute): Promise<Page> {
  const { signal } = request;
  const shared: PageRequest = { asOf, parameters, signal };
  if (image === undefined) return await homePage(context, shared);
  const { tag, digest } = image;
  const repository = await context.repositories.find(image, signal);
  if (tag === undefined && digest === undefined) return await repositoryPage(context, { ...shared, repository });
  return await imagePage(context, { ...shared, repository, tag, digest, address: addressOf(request) });
}

/** The form sends a day, and the address of a page has it in its path. */
function redirect(location: string): Response {
  return new Response(null, { status: 303, headers: { location, 'cache-control': 'no-store' } });
}

function endOf(day: string): number | undefined {
  if (day === '') return undefined;
  const instant = /^\d{4}-\d\d-\d\d$/.test(day) ? basicAsOfTime(day.replaceAll('-', '')) : undefined;
  if (instant === undefined)
    throw new RegistryError(400, 'NAME_INVALID', `${show(day)} is not a day (expected 2026-01-31)`);
  return instant;
}
