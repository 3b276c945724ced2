# shellcheck shell=sh
# Changes nginx to the layout of Fedora's package: user nginx, conf.d only, one default server.

useradd --system --user-group --home-dir /var/lib/nginx --shell /usr/sbin/nologin nginx
userdel www-data
rm -rf /etc/nginx/sites-available /etc/nginx/sites-enabled /etc/nginx/snippets \
    /etc/nginx/modules-available /etc/nginx/modules-enabled
install -d -m 0755 /etc/nginx/conf.d /etc/nginx/default.d /usr/share/nginx/html
chown -R nginx:root /var/log/nginx
chown -R nginx:nginx /var/lib/nginx

cat > /etc/nginx/nginx.conf <<'CONF'
# For more information on configuration, see:
#   * Official English Documentation: http://nginx.org/en/docs/

user nginx;
worker_processes auto;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;

# Load dynamic modules. See /usr/share/doc/nginx/README.dynamic.
include /usr/share/nginx/modules/*.conf;

events {
    worker_connections 1024;
}

http {
    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    access_log  /var/log/nginx/access.log  main;

    sendfile            on;
    tcp_nopush          on;
    keepalive_timeout   65;
    types_hash_max_size 4096;

    include             /etc/nginx/mime.types;
    default_type        application/octet-stream;

    # Load modular configuration files from the /etc/nginx/conf.d directory.
    # See http://nginx.org/en/docs/ngx_core_module.html#include
    # for more information.
    include /etc/nginx/conf.d/*.conf;

    server {
        listen       80;
        listen       [::]:80;
        server_name  _;
        root         /usr/share/nginx/html;

        # Load configuration files for the default server block.
        include /etc/nginx/default.d/*.conf;
    }
}
CONF
