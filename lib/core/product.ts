/** The version of this software, as in package.json: a bundle has no package.json beside it. */
const VERSION = '0.1.0';

/** The software's name towards servers (RFC 9110, section 10.1.5), with an address for their operators. */
export const USER_AGENT = `mirror-sync/${VERSION} (+https://github.com/mirror-sync/mirror-sync)`;
