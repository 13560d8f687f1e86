# SPDX-License-Identifier: GPL-3.0-or-later
# A git server for https on loopback: Python's own, in front of `git http-backend`.
# Arguments: the directory of repositories, certificate, key, a file that gets the port.
import http.server
import os
import ssl
import subprocess
import sys

root, certificate, key, port_file = sys.argv[1:]


class Git(http.server.BaseHTTPRequestHandler):
    def answer(self):
        if self.path.startswith("/elsewhere"):
            self.send_response(301)
            here = "https://localhost:%d" % self.server.server_port
            self.send_header("Location", here + self.path.replace("/elsewhere", "", 1))
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        environment = dict(
            os.environ,
            GIT_PROJECT_ROOT=root,
            GIT_HTTP_EXPORT_ALL="1",
            PATH_INFO=path,
            QUERY_STRING=query,
            REQUEST_METHOD=self.command,
            CONTENT_TYPE=self.headers.get("Content-Type", ""),
        )
        answer = subprocess.run(
            ["git", "-c", "safe.directory=*", "http-backend"],
            env=environment, input=body, stdout=subprocess.PIPE, check=False,
        ).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines()]
        status = [value for name, value in headers if name == "Status"]
        self.send_response(int(status[0].split()[0]) if status else 200)
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer


server = http.server.HTTPServer(("127.0.0.1", 0), Git)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
with open(port_file + ".new", "w") as out:
    out.write(str(server.server_port))
os.rename(port_file + ".new", port_file)
server.serve_forever()
