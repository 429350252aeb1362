import type { Context } from 'hono'
import { readLines, rowsAt, typeOf } from '../../bulk/import/lines.ts'
import { MAX_BYTES } from '../../bulk/import/schemas.ts'
import { importUsers } from '../../bulk/import/service.ts'
import { digestOf } from '../../crypto/digest.ts'
import { Hono } from '../../http/hono.ts'
import { readUpload } from '../../http/operation.ts'
import type { AppError } from '../../http/problem.ts'
import { form, sessionOf } from '../../pages/forms.ts'
import { respond } from '../../pages/respond.ts'
import { needs, type PageEnv } from '../../pages/session.ts'
import { type Outcome, onUnreadableForm, submit } from '../../pages/submit.ts'
import { IMPORT_PAGE, type ImportOutcome, ImportPage, whatIsWrong, withAddresses } from './import.tsx'

/** Room for a form's other fields, and for the escaping of the file. */
const FORM_BYTES = 64 * 1024
const upload = form(sessionOf, readUpload(MAX_BYTES + FORM_BYTES))

const importPage = async (c: Context<PageEnv>, outcome: ImportOutcome = {}, status = 200) => {
  const { view, viewer } = await c.var.signedIn()
  return respond(c, <ImportPage view={view} viewer={viewer} {...outcome} />, { status: status as 200 })
}

/** The submitted lines. A browser sends typed lines with CR LF, and may send an empty file beside them. */
const linesIn = ({ file, lines }: Record<string, string>) =>
  ((file ?? '') === '' ? (lines ?? '') : file!).replace(/\r\n?/g, '\n')

/** Lines are checked first, and imported only if they are the ones that were checked. */
export const importPages = new Hono<PageEnv>()
  .use('*', needs('users:import'))
  .get('/', (c) => importPage(c))
  .post('/', upload, (c) => {
    const lines = linesIn(c.var.fields)
    const { act, checked, include_erased } = c.var.fields
    const takesErased = include_erased === 'on'
    const digest = digestOf(takesErased ? `${lines}\0with the erased` : lines)
    const isRun = act === 'import' && checked === digest
    return submit(
      c,
      () => imported(c, lines, { digest, isRun, isOther: act === 'import' && !isRun, takesErased }),
      {
        page: IMPORT_PAGE,
        again: async ({ message }, status) => {
          const { view } = await c.var.signedIn()
          const problem: AppError | undefined = (c as Context).get('problem')
          const title = whatIsWrong(view, problem?.errors ?? [])
          return importPage(
            c,
            { lines, takesErased, message: title ? { tone: 'danger', title } : message },
            status,
          )
        },
      },
    )
  })
  .onError(onUnreadableForm(whatIsWrongWithFile, importPage))

async function whatIsWrongWithFile(
  c: Context<PageEnv>,
  { code, errors }: AppError,
): Promise<Outcome['message']> {
  const isTooLarge = code === 'body_too_large'
  if (!isTooLarge && errors?.[0]?.code !== 'invalid_encoding') return undefined
  const { imports, common } = (await c.var.signedIn()).view.texts
  const title = isTooLarge ? imports.tooLarge(MAX_BYTES / 1024 / 1024) : common.problems.invalid_encoding!
  return { tone: 'danger', title }
}

async function imported(
  c: Context<PageEnv>,
  lines: string,
  {
    digest,
    isRun,
    isOther,
    takesErased,
  }: { digest: string; isRun: boolean; isOther: boolean; takesErased: boolean },
) {
  const type = typeOf(lines)
  const read = readLines(type, lines)
  const { data } = await importUsers(c.var, read, { dry_run: !isRun, include_erased: takesErased })
  const refused = data.filter(({ status }) => status === 'invalid').map(({ line }) => line)
  return importPage(c, {
    results: withAddresses(read, data),
    lines: isRun ? rowsAt(type, lines, new Set(refused)) : lines,
    isRun,
    isOther,
    takesErased,
    ...(!isRun && { checked: digest }),
  })
}
