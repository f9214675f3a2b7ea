# SPDX-License-Identifier: Apache-2.0
"""nginx and HAProxy as peers, ended with their story."""

import os
import subprocess

from . import client
from .story import Skip

NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
NGINX = """
{outside}
daemon off; worker_processes 1; pid {dir}/pid; error_log stderr; {user}
events {{ worker_connections 512; }}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  {more}
}}
"""
HAPROXY = """
global
    maxconn 1000
defaults
    mode {mode}
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend f
    bind {listen}
{front}    default_backend b
backend b
    server s {server}
"""


def nginx(t, more, listen, stream=""):
    """more: of its http block; stream: its stream block, if it is to have one."""
    program = t.needs("nginx")
    folder = t.make_dir("nginx")
    path = os.path.join(folder, "nginx.conf")
    outside = ""
    if stream:
        if not os.path.exists(NGINX_STREAM):
            raise Skip("nginx's stream module is not installed")
        outside = "load_module %s; stream { %s }" % (NGINX_STREAM, stream)
    with open(path, "w") as f:
        f.write(NGINX.format(dir=folder, more=more, outside=outside,
                             user="user root;" if os.getuid() == 0 else ""))
    p = t.spawn([program, "-p", folder, "-c", path], stderr=subprocess.DEVNULL)
    client.wait_listening(listen.split()[0], 20, lambda: p.poll() is None)
    return folder


def haproxy(t, listen, server, front="", mode="http"):
    """front: more lines of its frontend; server: its address and what else is said of it."""
    program = t.needs("haproxy")
    path = os.path.join(t.make_dir("haproxy"), "haproxy.cfg")
    with open(path, "w") as f:
        f.write(HAPROXY.format(listen=listen, server=server, front=front, mode=mode))
    p = t.spawn([program, "-f", path, "-db"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    client.wait_listening(listen.split()[0], 20, lambda: p.poll() is None)
