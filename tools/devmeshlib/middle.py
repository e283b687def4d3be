"""What stands in the middle of some links: an HTTP proxy that is asked with CONNECT (tinyproxy), and a
reverse proxy in front of a node that ends TLS (nginx)."""
import shutil
import socket

from . import nodes, procs
from .procs import DevmeshError

PROXY_LOGIN = ("devmesh", "secret")

TINYPROXY = """Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
ConnectPort {to_port}
Timeout 3600
MaxClients 200
LogLevel Connect
{auth}"""

# One process; everything that nginx writes is in its own directory.
NGINX = """daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	server {{
		listen 127.0.0.1:{port} ssl;
		ssl_certificate {cert}.crt;
		ssl_certificate_key {cert}.key;
		ssl_protocols TLSv1.3;
		location / {{
			proxy_pass http://127.0.0.1:{to_port};
			proxy_http_version 1.1;
			proxy_set_header Host $host;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $http_connection;
			proxy_buffering off;
			proxy_read_timeout 1h;
			proxy_send_timeout 1h;
		}}
	}}
}}
"""


def find(program, package):
    """Where the program is: what is in sbin is not on everybody's path."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/bin")
    if path is None:
        raise DevmeshError(f"{program} is not here: install the package {package} (tools/deps test)")
    return path


def listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def start(mesh, what, argv, directory, port):
    proc = procs.spawn(argv, f"{directory}/log", nodes.mesh_user(mesh), cwd="/")

    def ready():
        if not procs.alive(proc):
            with open(f"{directory}/log", encoding="utf-8", errors="replace") as f:
                raise DevmeshError(f"{what} has ended: {f.read()[-500:]}")
        return listening(port)

    procs.wait_until(what, ready, 10)
    return proc


def start_connect_proxy(mesh, directory, port, to_port, login):
    """tinyproxy on port, which connects to to_port only; login: whether it wants PROXY_LOGIN."""
    program = find("tinyproxy", "tinyproxy-bin")
    nodes.make_dir(mesh, directory)
    auth = "BasicAuth {} {}\n".format(*PROXY_LOGIN) if login else ""
    nodes.write_file(mesh, f"{directory}/conf", TINYPROXY.format(port=port, to_port=to_port, auth=auth))
    return start(mesh, "tinyproxy", [program, "-d", "-c", f"{directory}/conf"], directory, port)


def write_login(mesh, path):
    nodes.write_file(mesh, path, ":".join(PROXY_LOGIN) + "\n")


def start_reverse_proxy(mesh, directory, port, to_port):
    """nginx on port with a certificate for localhost, which takes the requests to to_port in the clear."""
    program = find("nginx", "nginx-light")
    nodes.make_dir(mesh, directory)
    nodes.meshctl(mesh, "ca", "server", f"{mesh['dir']}/ca", "devmesh.proxy", "--ip", "127.0.0.1", "--dns",
                  "localhost", "-o", f"{directory}/cert")
    text = NGINX.format(dir=directory, port=port, to_port=to_port, cert=f"{directory}/cert")
    nodes.write_file(mesh, f"{directory}/conf", text)
    argv = [program, "-e", "stderr", "-p", directory, "-c", f"{directory}/conf"]
    return start(mesh, "nginx", argv, directory, port)
