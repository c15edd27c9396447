// The certified authorization server `oidc-provider` on loopback: its configuration, its switches,
// and a record of what it was sent. No OAuth is written here.
//
//   node oidc_provider.mjs NODE_MODULES_FOLDER < config.json
//
// Prints one JSON line {"base", "issuer"} once it listens, and ends when its stdin is closed, so
// that it never outlives the tests. GET /-/ gives the state, POST /-/ changes switches, DELETE /-/
// sets them back and forgets what was seen.
import { generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

// A bare import would be looked up from this file's folder; the packages are installed elsewhere.
const { Provider, errors } = await import(
  new URL('oidc-provider/lib/index.js', pathToFileURL(`${process.argv[2]}/`)),
);

// One line of configuration; what follows on stdin is only waited for, as a sign of life.
const lines = createInterface({ input: process.stdin });
const { prefix = '', scopes, clients = [], documents } = JSON.parse(
  (await lines[Symbol.asyncIterator]().next()).value,
);
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();

const asNew = () => ({
  resources: {}, // identifier -> scopes; anything else is invalid_target
  accessTokenSeconds: 60,
  format: 'jwt',
  refreshNeedsOfflineAccess: false,
});
const unseen = () => ({ requests: [], grants: {}, errors: [], registrations: 0, revokedGrants: 0 });
const switches = asNew();
const seen = unseen();

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const signingKey = { ...privateKey.export({ format: 'jwk' }), kid: 'test', alg: 'RS256', use: 'sig' };

const configuration = {
  clients,
  scopes,
  jwks: { keys: [signingKey] },
  cookies: { keys: ['loopback-only'] },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: (ctx, client, source) =>
    client.grantTypeAllowed('refresh_token')
    && (!switches.refreshNeedsOfflineAccess || source.scopes.has('offline_access')),
  ttl: {
    AccessToken: (ctx, token) =>
      token.resourceServer?.accessTokenTTL ?? switches.accessTokenSeconds,
    AuthorizationCode: 60,
    DeviceCode: 120,
    Grant: 3600,
    IdToken: 60,
    Interaction: 600,
    RefreshToken: 3600,
    Session: 3600,
  },
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true },
    registrationManagement: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'inspector' },
    deviceFlow: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(ctx, resource) {
        if (!Object.hasOwn(switches.resources, resource)) throw new errors.InvalidTarget();
        return {
          scope: switches.resources[resource],
          audience: resource,
          accessTokenTTL: switches.accessTokenSeconds,
          accessTokenFormat: switches.format,
          jwt: { sign: { alg: 'RS256' } },
        };
      },
    },
    clientIdMetadataDocument: {
      enabled: Boolean(documents),
      ...(documents ? { ack: 'draft-02' } : {}),
    },
  },
  // The provider's own guard refuses documents on loopback (SSRF), so they are handed over here.
  fetch: async (url) => {
    const found = documents?.[String(url)];
    return found
      ? new Response(JSON.stringify(found), { headers: { 'content-type': 'application/json' } })
      : new Response('', { status: 404 });
  },
};

function listenTo(provider) {
  provider.on('grant.success', (ctx) => {
    const { grant_type: grant } = ctx.oidc.params;
    seen.grants[grant] = (seen.grants[grant] ?? 0) + 1;
  });
  provider.on('registration_create.success', () => { seen.registrations += 1; });
  provider.on('grant.revoked', () => { seen.revokedGrants += 1; });
  for (const kind of ['authorization', 'grant', 'registration_create', 'revocation']) {
    provider.on(`${kind}.error`, (ctx, error) => {
      seen.errors.push({ kind, error: error.error, description: error.error_description });
    });
  }
  provider.on('server_error', (ctx, error) => {
    seen.errors.push({ kind: 'server', error: String(error), description: error.stack });
  });
}

async function bodyOf(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}

// A second reader would take the body away from the provider: listen in on the events instead.
function overhear(request, record) {
  const { emit } = request;
  request.emit = (name, ...values) => {
    if (name === 'data') record.body += values[0];
    return emit.call(request, name, ...values);
  };
}

const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(base + prefix, configuration);
  listenTo(provider);
  const answer = provider.callback();
  server.on('request', async (request, response) => {
    if (request.url === '/-/') {
      if (request.method === 'POST') Object.assign(switches, JSON.parse(await bodyOf(request)));
      if (request.method === 'DELETE') {
        Object.assign(switches, asNew());
        Object.assign(seen, unseen());
      }
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ ...seen, switches }));
      return;
    }
    const [path, query = ''] = request.url.split('?');
    const record = { method: request.method, path, query, body: '' };
    seen.requests.push(record);
    overhear(request, record);
    if (prefix) { // mounted like a tenant: only below its path, metadata appended to the issuer
      if (!path.startsWith(`${prefix}/`)) {
        response.statusCode = 404;
        response.end('not here');
        return;
      }
      request.originalUrl = request.url; // where koa finds out what it is mounted under
      request.url = request.url.slice(prefix.length);
    }
    answer(request, response);
  });
  process.stdout.write(`${JSON.stringify({ base, issuer: base + prefix })}\n`);
});
