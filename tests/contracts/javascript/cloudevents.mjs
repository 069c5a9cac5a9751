// CloudEvents by its own SDK over a client in JavaScript: sends each event as it is told to, and reads until every
// answer has come.
import { text } from 'node:stream/consumers'
import { Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import { CloudEvent, Kafka } from 'cloudevents'

const { kafka, topic, answers, sent } = JSON.parse(await text(process.stdin))
const client = { clientId: 'javascript', bootstrapBrokers: [kafka] }

const producer = new Producer({ ...client, serializers: stringSerializers })
for (const { mode, compression, key, data, ...attributes } of sent) {
  const event = new CloudEvent({ ...attributes, datacontenttype: 'application/json', data, partitionkey: key })
  const message = Kafka[mode](event)
  const headers = Object.fromEntries(Object.entries(message.headers).filter(([, value]) => value !== undefined))
  const value = typeof message.value === 'string' ? message.value : JSON.stringify(message.value)
  await producer.send({ compression, acks: -1, messages: [{ topic, key: message.key, value, headers }] })
}
await producer.close()

const awaited = new Set(sent.map(each => each.id))
const found = []
const consumer = new Consumer({ ...client, groupId: `${topic}-javascript`, deserializers: stringDeserializers })
const stream = await consumer.consume({ topics: [answers], mode: 'earliest', autocommit: false, maxWaitTime: 50 })
for await (const { key, value, headers } of stream) {
  const event = Kafka.toEvent({ key, value, headers: Object.fromEntries(headers) })
  if (awaited.delete(event.causationid)) found.push(event.toJSON())
  if (awaited.size === 0) break
}
await consumer.close(true)
console.log(JSON.stringify(found))
