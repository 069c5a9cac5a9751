// The official parser of AsyncAPI on documents by name: what it has against each, and what it understood.
import { text } from 'node:stream/consumers'
import { Parser } from '@asyncapi/parser'

const documents = JSON.parse(await text(process.stdin))
const found = {}
for (const [name, source] of Object.entries(documents)) {
  const { document, diagnostics } = await new Parser().parse(JSON.stringify(source))
  found[name] = {
    diagnostics: diagnostics.map(each => `${each.path.join('/')}: ${each.message}`),
    channels: document?.channels().all().map(each => each.address()) ?? [],
    operations: document?.operations().all().length ?? 0,
    messages: document?.messages().all().map(each => each.name()) ?? [],
  }
}
console.log(JSON.stringify(found))
