"""What aiokafka's admin client cannot ask, though its protocol can: members of groups, and ACLs.

Its own question for groups reads the answer by the schema of another version, and for ACLs it has none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import SecurityDisabled, for_code
from aiokafka.protocol.admin import CreateAclsRequest_v1, DescribeAclsRequest_v1, DescribeGroupsRequest_v2
from aiokafka.protocol.api import Request

TOPIC, GROUP = 2, 3
READ, WRITE, DESCRIBE = 3, 4, 8
ALLOW = 3
LITERAL = 3
ANY = 1
OPERATIONS = {READ: "read", WRITE: "write", DESCRIBE: "describe"}
RESOURCES = {TOPIC: "topic", GROUP: "group"}


class Acl(NamedTuple):
    """That a principal may do something with a topic or group of exactly this name, from any host."""

    resource: int
    name: str
    principal: str
    operation: int

    def __str__(self) -> str:
        operation = OPERATIONS.get(self.operation, f"operation {self.operation}")
        return f"{self.principal} may {operation} {RESOURCES.get(self.resource, 'resource')} {self.name}"


async def members_of(admin: AIOKafkaAdminClient, groups: Sequence[str]) -> Mapping[str, int]:
    """How many processes are in each consumer group; a group that is not there has none."""
    found: dict[str, int] = {}
    for group in groups:
        coordinator = await admin.find_coordinator(group)
        response = await _asked(admin, _DescribeGroups([group]), coordinator)
        found |= {name: len(members) for _, name, _, _, _, members in response.groups}
    return found


async def acls_of(admin: AIOKafkaAdminClient) -> set[Acl] | None:
    """What is allowed by name, from any host; None where the broker has no authorizer, and lets everybody do all."""
    response = await _asked(admin, _DescribeAcls())
    error = for_code(response.error_code)
    if error is SecurityDisabled:
        return None
    if response.error_code:
        raise error(response.error_message)
    return {
        Acl(resource, name, principal, operation)
        for resource, name, pattern, acls in response.resources
        for principal, host, operation, permission in acls
        if pattern == LITERAL and host == "*" and permission == ALLOW
    }


async def allow(admin: AIOKafkaAdminClient, acls: Sequence[Acl]) -> None:
    """Adds ACLs; one that is there already stays."""
    response = await _asked(admin, _CreateAcls(acls))
    for code, message in response.creation_responses:
        if code:
            raise for_code(code)(message)


async def _asked(admin: AIOKafkaAdminClient, request: Request[Any], node: int | None = None) -> Any:
    return await admin._send_request(request, node)  # noqa: SLF001 - the only way to ask what it has no method for


class _DescribeGroups(Request[DescribeGroupsRequest_v2]):  # type: ignore[misc] # aiokafka carries no types
    API_KEY = DescribeGroupsRequest_v2.API_KEY

    def __init__(self, groups: Sequence[str]) -> None:
        self._groups = list(groups)

    def build(self, request: Any) -> Any:
        return request(self._groups)


class _DescribeAcls(Request[DescribeAclsRequest_v1]):  # type: ignore[misc] # the same
    API_KEY = DescribeAclsRequest_v1.API_KEY

    def build(self, request: Any) -> Any:
        return request(ANY, None, ANY, None, None, ANY, ANY)


class _CreateAcls(Request[CreateAclsRequest_v1]):  # type: ignore[misc] # the same
    API_KEY = CreateAclsRequest_v1.API_KEY

    def __init__(self, acls: Sequence[Acl]) -> None:
        self._acls = acls

    def build(self, request: Any) -> Any:
        return request(
            [(each.resource, each.name, LITERAL, each.principal, "*", each.operation, ALLOW) for each in self._acls]
        )
