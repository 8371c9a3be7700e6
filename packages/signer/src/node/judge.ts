/** What a request comes to, by its purpose. Nothing is signed here. */
import type { SigningRequest } from '@lockstep/protocol/signing/request';
import { judgeKeyDocument } from './judge-key-document.ts';
import { judgeRelease } from './judge-release.ts';
import { judgeTuf } from './judge-tuf.ts';
import type { JudgeInput, Judged } from './judged.ts';

export function judge(request: SigningRequest, input: JudgeInput): Judged {
  if (request.purpose === 'release') return judgeRelease(request, input);
  return request.purpose === 'key' ? judgeKeyDocument(request, input) : judgeTuf(request, input);
}
