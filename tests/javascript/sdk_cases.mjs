// What people write with AWS's SDK for JavaScript: the usage examples of its pages, and what else belongs to them.
// Region, address and credentials come from the environment, as they would for anybody.

import { createServer } from 'node:net';
import { once } from 'node:events';
import * as sdk from '@aws-sdk/client-lambda';

const {
  DeleteFunctionEventInvokeConfigCommand,
  GetFunctionEventInvokeConfigCommand,
  GetFunctionRecursionConfigCommand,
  InvocationType,
  InvokeAsyncCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  LambdaClient,
  LambdaServiceException,
  ListFunctionEventInvokeConfigsCommand,
  LogType,
  PutFunctionEventInvokeConfigCommand,
  PutFunctionRecursionConfigCommand,
  RecursiveLoop,
  UpdateFunctionEventInvokeConfigCommand,
} = sdk;

const client = new LambdaClient({ region: 'us-east-1' });
const impatient = new LambdaClient({ region: 'us-east-1', maxAttempts: 1 });
const text = (bytes) => new TextDecoder().decode(bytes);
const logs = (result) => Buffer.from(result, 'base64').toString();

// An answer as JSON can tell it: bytes as text, dates as dates, without what the SDK adds.
const plain = ({ $metadata, ...members }) =>
  Object.fromEntries(
    Object.entries(members).map(([name, value]) => {
      if (value instanceof Uint8Array) return [name, text(value)];
      return [name, value instanceof Date ? { date: value.toISOString() } : value];
    }),
  );

// What is thrown, and whose class it is.
const thrown = async (command, using = client) => {
  try {
    return { answered: plain(await using.send(command)) };
  } catch (error) {
    return {
      name: error.name,
      message: error.message,
      fault: error.$fault,
      status: error.$metadata?.httpStatusCode,
      isService: error instanceof LambdaServiceException,
      isOwnClass: sdk[error.name] !== undefined && error instanceof sdk[error.name],
      reason: error.Reason,
    };
  }
};

// All events of a stream, each as its kind and what it holds.
const events = async (response) => {
  const found = [];
  for await (const event of response.EventStream) {
    const [[kind, value]] = Object.entries(event);
    found.push([kind, kind === 'PayloadChunk' ? text(value.Payload) : value]);
  }
  return found;
};

// Lets a function wait for this program: it connects, and goes on with each byte that it gets.
const gate = async () => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const connected = once(server, 'connection');
  return {
    port: server.address().port,
    connected,
    close: async () => {
      const [socket] = await connected;
      socket.destroy();
      server.close();
    },
  };
};

export const cases = {
  // --- the usage examples, as they stand ---

  synchronous: async () => {
    const command = new InvokeCommand({
      FunctionName: 'my-function',
      InvocationType: 'RequestResponse',
      LogType: 'Tail',
      Payload: JSON.stringify({
        key1: 'value1',
        key2: 'value2',
      }),
    });
    const response = await client.send(command);
    const result = JSON.parse(new TextDecoder().decode(response.Payload));
    const found = { result, status: response.StatusCode, version: response.ExecutedVersion };
    if (response.FunctionError) {
      found.error = response.FunctionError;
    }
    if (response.LogResult) {
      found.logs = Buffer.from(response.LogResult, 'base64').toString();
    }
    return { ...found, requestId: response.$metadata.requestId };
  },

  asynchronous: async ({ message }) => {
    const asyncCommand = new InvokeCommand({
      FunctionName: 'my-function',
      InvocationType: 'Event',
      Payload: JSON.stringify({ message }),
    });
    return plain(await client.send(asyncCommand));
  },

  responseStream: async () => {
    const command = new InvokeWithResponseStreamCommand({
      FunctionName: 'my-streaming-function',
      InvokeMode: 'RESPONSE_STREAM',
      Payload: JSON.stringify({ prompt: 'Generate a story' }),
    });
    const response = await client.send(command);
    const found = { status: response.StatusCode, version: response.ExecutedVersion, chunks: [] };
    if (response.EventStream) {
      for await (const event of response.EventStream) {
        if ('PayloadChunk' in event && event.PayloadChunk) {
          found.chunks.push(new TextDecoder().decode(event.PayloadChunk.Payload));
        }
        if ('InvokeComplete' in event) {
          found.complete = event.InvokeComplete;
          break;
        }
      }
    }
    return found;
  },

  errorHandling: async ({ name }) => {
    const said = [];
    try {
      const command = new InvokeCommand({
        FunctionName: name,
        Payload: JSON.stringify({ data: 'test' }),
      });
      const response = await client.send(command);
      if (response.FunctionError) {
        said.push(`Function error (${response.FunctionError}):`, new TextDecoder().decode(response.Payload));
      } else {
        const result = JSON.parse(new TextDecoder().decode(response.Payload));
        said.push('Success:', result);
      }
    } catch (error) {
      if (error instanceof LambdaServiceException) {
        said.push(`Service error: ${error.name} - ${error.message}`);
      } else {
        said.push('Unexpected error:', String(error));
      }
    }
    return said;
  },

  invokeAsync: async ({ message }) => {
    const args = new TextEncoder().encode(JSON.stringify({ message }));
    return plain(await client.send(new InvokeAsyncCommand({ FunctionName: 'my-function', InvokeArgs: args })));
  },

  eventInvokeConfig: async ({ destination }) => {
    const named = { FunctionName: 'my-function' };
    const found = {};
    found.put = plain(
      await client.send(
        new PutFunctionEventInvokeConfigCommand({
          ...named,
          MaximumRetryAttempts: 1,
          MaximumEventAgeInSeconds: 3600,
          DestinationConfig: { OnFailure: { Destination: destination } },
        }),
      ),
    );
    found.updated = plain(
      await client.send(new UpdateFunctionEventInvokeConfigCommand({ ...named, MaximumRetryAttempts: 0 })),
    );
    found.got = plain(await client.send(new GetFunctionEventInvokeConfigCommand(named)));
    const listed = await client.send(new ListFunctionEventInvokeConfigsCommand({ ...named, MaxItems: 50 }));
    found.listed = listed.FunctionEventInvokeConfigs.map(plain);
    found.deleted = (await client.send(new DeleteFunctionEventInvokeConfigCommand(named))).$metadata.httpStatusCode;
    found.gone = await thrown(new GetFunctionEventInvokeConfigCommand(named));
    return found;
  },

  recursionConfig: async () => {
    const named = { FunctionName: 'my-function' };
    const get = async () => (await client.send(new GetFunctionRecursionConfigCommand(named))).RecursiveLoop;
    const found = [await get()];
    for (const RecursiveLoop_ of [RecursiveLoop.Allow, RecursiveLoop.Terminate]) {
      const put = new PutFunctionRecursionConfigCommand({ ...named, RecursiveLoop: RecursiveLoop_ });
      found.push((await client.send(put)).RecursiveLoop, await get());
    }
    return found;
  },

  // A member that the operation does not have is left out by the SDK.
  nestedRecursionConfig: async () =>
    thrown(
      new PutFunctionRecursionConfigCommand({
        FunctionName: 'my-function',
        RecursionConfig: { RecursiveLoop: 'Allow' },
      }),
    ),

  // --- invoking ---

  invoke: async ({ bytes, ...members }) => {
    const Payload = bytes === undefined ? members.Payload : Uint8Array.from(bytes);
    const response = await client.send(new InvokeCommand({ FunctionName: 'my-function', ...members, Payload }));
    const found = plain(response);
    if (found.LogResult) found.LogResult = logs(found.LogResult);
    return found;
  },

  dryRun: async ({ name }) => thrown(new InvokeCommand({ FunctionName: name, InvocationType: InvocationType.DryRun })),

  tail: async () => {
    const command = new InvokeCommand({ FunctionName: 'my-function', LogType: LogType.Tail, Payload: '{"lines": 900}' });
    const log = logs((await client.send(command)).LogResult);
    return [Buffer.byteLength(log), log.split('\n').at(-2)];
  },

  manyAtOnce: async ({ count }) => {
    const one = async (n) => {
      const command = new InvokeCommand({ FunctionName: 'my-function', Payload: JSON.stringify({ n }) });
      return JSON.parse(text((await client.send(command)).Payload)).event.n;
    };
    return Promise.all(Array.from({ length: count }, (_, n) => one(n)));
  },

  // --- streams ---

  stream: async ({ name, event, ...members }) => {
    const command = new InvokeWithResponseStreamCommand({
      FunctionName: name,
      Payload: JSON.stringify(event ?? null),
      ...members,
    });
    const response = await client.send(command);
    const found = { status: response.StatusCode, version: response.ExecutedVersion, events: await events(response) };
    const last = found.events.at(-1)?.[1];
    if (last?.LogResult) last.LogResult = logs(last.LogResult);
    return found;
  },

  // The function writes a chunk when it has got a byte, which is sent when the chunk before is here.
  streamOneByOne: async ({ name, count }) => {
    const { port, connected, close } = await gate();
    const command = new InvokeWithResponseStreamCommand({ FunctionName: name, Payload: JSON.stringify({ port }) });
    // Answered when the function has begun to answer.
    const sent = client.send(command);
    const [socket] = await connected;
    const found = [];
    socket.write('x');
    const response = await sent;
    for await (const event of response.EventStream) {
      if (event.PayloadChunk === undefined) {
        found.push(event.InvokeComplete);
        continue;
      }
      found.push(text(event.PayloadChunk.Payload));
      if (found.length < count) socket.write('x');
      else socket.end();
    }
    await close();
    return found;
  },

  // The caller has enough after the first chunk; the function is told by nobody and waits at the gate.
  streamLeftEarly: async ({ name }) => {
    const { port, connected, close } = await gate();
    const abort = new AbortController();
    const command = new InvokeWithResponseStreamCommand({ FunctionName: name, Payload: JSON.stringify({ port }) });
    const sent = client.send(command, { abortSignal: abort.signal });
    const [socket] = await connected;
    socket.write('x');
    const response = await sent;
    const found = [];
    try {
      for await (const event of response.EventStream) {
        found.push(text(event.PayloadChunk.Payload));
        abort.abort();
        break;
      }
    } finally {
      await close();
    }
    return found;
  },

  streamError: async ({ name, ...members }) =>
    thrown(new InvokeWithResponseStreamCommand({ FunctionName: name, Payload: '{}', ...members })),

  // --- errors ---

  thrown: async ({ command, members, bytes, size, ...credentials }) => {
    const given = { ...members };
    if (bytes !== undefined) given.Payload = Uint8Array.from(bytes);
    if (size !== undefined) given.Payload = JSON.stringify('x'.repeat(size));
    if (!credentials.accessKeyId) return thrown(new sdk[command](given), impatient);
    const { endpoint, accessKeyId, secretAccessKey } = credentials;
    const other = new LambdaClient({
      region: 'us-east-1',
      endpoint,
      credentials: { accessKeyId, secretAccessKey },
      maxAttempts: 1,
    });
    const found = await thrown(new sdk[command](given), other);
    other.destroy();
    return found;
  },

  nobodyListens: async ({ endpoint }) => {
    const other = new LambdaClient({ region: 'us-east-1', endpoint, maxAttempts: 1 });
    const { isService } = await thrown(new InvokeCommand({ FunctionName: 'my-function' }), other);
    return isService;
  },

  // --- the life of a function, with every waiter ---

  life: async ({ zip, runtime, role }) => {
    const FunctionName = 'a-life';
    const named = { FunctionName };
    const bounds = { client, minDelay: 0.02, maxDelay: 0.05, maxWaitTime: 30 };
    const code = Buffer.from(zip, 'base64');
    const states = [];
    const waited = async (waiter, input) => states.push((await sdk[waiter](bounds, input)).state);
    const made = await client.send(
      new sdk.CreateFunctionCommand({
        ...named,
        Runtime: runtime,
        Handler: 'app.handler',
        Role: role,
        Code: { ZipFile: code },
      }),
    );
    await waited('waitUntilFunctionExists', named);
    await waited('waitUntilFunctionActive', named);
    await waited('waitUntilFunctionActiveV2', named);
    await client.send(new sdk.UpdateFunctionConfigurationCommand({ ...named, Description: 'changed' }));
    await waited('waitUntilFunctionUpdated', named);
    await client.send(new sdk.UpdateFunctionCodeCommand({ ...named, ZipFile: code }));
    await waited('waitUntilFunctionUpdatedV2', named);
    const published = await client.send(new sdk.PublishVersionCommand(named));
    await waited('waitUntilPublishedVersionActive', { ...named, Qualifier: published.Version });
    await client.send(
      new sdk.CreateAliasCommand({ ...named, Name: 'live', FunctionVersion: published.Version }),
    );
    const answer = await client.send(new InvokeCommand({ ...named, Qualifier: 'live', Payload: '{}' }));
    const got = await client.send(new sdk.GetFunctionCommand(named));
    await client.send(new sdk.DeleteFunctionCommand(named));
    return {
      made: made.State,
      states,
      version: answer.ExecutedVersion,
      description: got.Configuration.Description,
      gone: (await thrown(new sdk.GetFunctionCommand(named))).name,
    };
  },

  // --- every page, one item at a time ---

  pages: async ({ paginator, input, member, key }) => {
    const found = [];
    for await (const page of sdk[paginator]({ client, pageSize: 1 }, input)) {
      found.push(page[member].map((item) => item[key]));
    }
    return found;
  },
};
