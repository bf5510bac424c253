"""An answerer as one writes it in Python: a socket, a library for messages, a dictionary of addresses.

usage: answer.py dnspython|dnslib ADDRESS PORT ZONE FILE
FILE has lines `NAME A ADDRESS`, names relative to ZONE; others are passed over.
"""

import socket
import sys


def addresses(zone, path):
    found = {}
    with open(path) as lines:
        for line in lines:
            words = line.split()
            if len(words) == 3 and words[1] == "A":
                found[f"{words[0]}.{zone}."] = words[2]
    return found


def dnspython(found):
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rrset

    def answer(octets):
        query = dns.message.from_wire(octets)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA
        question = query.question[0]
        address = found.get(question.name.to_text().lower())
        if address is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        else:
            reply.answer.append(dns.rrset.from_text(question.name, 300, "IN", "A", address))
        return reply.to_wire()

    return answer


def dnslib(found):
    from dnslib import QTYPE, RCODE, RR, A, DNSRecord

    def answer(octets):
        query = DNSRecord.parse(octets)
        reply = query.reply()
        address = found.get(str(query.q.qname).lower())
        if address is None:
            reply.header.rcode = RCODE.NXDOMAIN
        else:
            reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A(address), ttl=300))
        return reply.pack()

    return answer


def main():
    library, address, port, zone, path = sys.argv[1:]
    answer = {"dnspython": dnspython, "dnslib": dnslib}[library](addresses(zone, path))
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, int(port)))
    while True:
        octets, peer = server.recvfrom(4096)
        server.sendto(answer(octets), peer)


main()
