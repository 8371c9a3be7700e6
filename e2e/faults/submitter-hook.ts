/** Loaded into the real program before it starts: it dies when it submits, before or after the farm has answered. */
import https from 'node:https';
import { syncBuiltinESMExports } from 'node:module';
import { die } from './trap.ts';

const real = https.request;
https.request = ((options: https.RequestOptions, answered: (response: unknown) => void) => {
  const isSubmission = options.method === 'POST' && options.path === '/v1/submissions';
  if (isSubmission && process.env['FAULT_PHASE'] === 'before') die();
  return real(options, (response) => {
    if (isSubmission && process.env['FAULT_PHASE'] === 'after') die();
    answered(response);
  });
}) as typeof https.request;
syncBuiltinESMExports();
