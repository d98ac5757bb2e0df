{# Runs at every start (init-file), locally on each member; one statement a line. #}
{% macro text(value) %}'{{ value | replace("\\", "\\\\") | replace("'", "''") }}'{% endmacro %}
{% set password = text(secret('mariadb.root_password')) %}
{% set root_hosts = ['localhost'] + options.root_hosts %}
CREATE USER IF NOT EXISTS mysql@localhost IDENTIFIED VIA unix_socket;
GRANT ALL PRIVILEGES ON *.* TO mysql@localhost WITH GRANT OPTION;
{% for address in root_hosts %}
CREATE USER IF NOT EXISTS root@{{ text(address) }} IDENTIFIED BY {{ password }};
ALTER USER root@{{ text(address) }} IDENTIFIED BY {{ password }} REQUIRE {{ "SSL" if options.tls and address != "localhost" else "NONE" }};
GRANT ALL PRIVILEGES ON *.* TO root@{{ text(address) }} WITH GRANT OPTION;
{% endfor %}
CREATE USER IF NOT EXISTS monitor@'%' IDENTIFIED BY '';
CREATE USER IF NOT EXISTS monitor@localhost IDENTIFIED BY '';
DELETE FROM mysql.global_priv WHERE User = '' OR User = 'root' AND Host NOT IN ({% for address in root_hosts %}{{ text(address) }}{{ ", " if not loop.last }}{% endfor %});
FLUSH PRIVILEGES;
