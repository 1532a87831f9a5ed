// Runs cases of sdk_cases.mjs in one process: a line of JSON in names a case, a line of JSON out is what it gave.

import { createInterface } from 'node:readline';
import { cases } from './sdk_cases.mjs';

const answer = async ({ name, given }) => {
  try {
    return { value: await cases[name](given ?? {}) };
  } catch (error) {
    return { error: `${error?.name}: ${error?.message}\n${error?.stack}` };
  }
};

for await (const line of createInterface({ input: process.stdin })) {
  // Said, and not only heard from the end of the input, which another process may hold open.
  if (line === 'end') process.exit(0);
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
