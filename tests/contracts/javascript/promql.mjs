// Prometheus' own grammar on a list of expressions: where each stops being PromQL, or null where it is.
import { text } from 'node:stream/consumers'
import { parser } from '@prometheus-io/lezer-promql'

const expressions = JSON.parse(await text(process.stdin))
const found = expressions.map(expression => {
  let wrong = null
  parser.parse(expression).iterate({
    enter: node => { if (node.type.isError && wrong === null) wrong = expression.slice(0, node.from) },
  })
  return wrong
})
console.log(JSON.stringify(found))
