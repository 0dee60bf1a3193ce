"""Rotation of the keys for orders at the fleet: who has to get them, and when the old one may go."""

from nacl.signing import SigningKey

from cabinet.uplink.messages import Online
from cabinet_testing import fleet_scene
from fleet import order_keys, states
from fleet.main import main
from fleet.order_keys import OrderKeys
from fleet.states import CabinetOnline
from fleet.store import database
from fleet.trust import TrustFolder, public_key

OLD, NEW = SigningKey(b"o" * 32), SigningKey(b"n" * 32)
OLD_ID, NEW_ID = public_key(OLD).key_id, public_key(NEW).key_id


async def report(connection, **keys):
    await states.take_connections(
        connection, [CabinetOnline(name.replace("_", "-"), Online(True, keys=ids)) for name, ids in keys.items()]
    )


def test_oldest_key_signs_and_the_set_is_read_again():
    present = [OLD]
    keys = OrderKeys(lambda: list(present))
    present.append(NEW)
    assert keys.message("cab-1").keys == [public_key(OLD)]
    keys.refresh()
    assert keys.message("cab-1").keys == [public_key(OLD), public_key(NEW)]
    assert keys.signing_key == OLD


def test_only_cabinets_that_are_online_and_report_another_set_get_one(url, run):
    async def scenario():
        async with await database.connect(url, autocommit=True) as connection:
            scene = await fleet_scene.add_company(connection)
            for cabinet in ("cab-1", "cab-2", "cab-3", "cab-4"):
                await fleet_scene.add_cabinet(connection, scene, cabinet)
            await report(connection, cab_1=[OLD_ID], cab_2=[OLD_ID, NEW_ID], cab_3=[], cab_4=[OLD_ID])
            await states.take_connections(connection, [CabinetOnline("cab-4", Online(False))])
            both = [public_key(OLD), public_key(NEW)]
            assert await order_keys.without(connection, both) == ["cab-1"], "cab-3 is not of this version"
            assert await order_keys.that_do_not_trust(connection, NEW_ID) == ["cab-1", "cab-4"]
            await report(connection, cab_1=[OLD_ID, NEW_ID])
            assert await order_keys.without(connection, both) == []

    run(scenario())


def test_key_is_not_retired_while_a_cabinet_has_no_other(url, run, tmp_path, capsys):
    config = tmp_path / "fleet.toml"
    config.write_text(f'[database]\nurl = "{url}"\n[web]\npublic_url = "https://charge.example"\n')
    main(["broker", "config", "--config", str(config)])
    trust = TrustFolder(tmp_path / "trust")
    (old,) = trust.public_keys()
    new_id = trust.add_order_key()

    async def reported(keys):
        async with await database.connect(url, autocommit=True) as connection:
            await report(connection, cab_1=keys)

    async def add():
        async with await database.connect(url, autocommit=True) as connection:
            await fleet_scene.add_cabinet(connection, await fleet_scene.add_company(connection), "cab-1")

    run(add())
    run(reported([old.key_id]))
    retire = ["broker", "retire-key", old.key_id, "--config", str(config)]
    assert main(retire) == 1
    assert f"1 cabinets do not have key {new_id} yet, such as cab-1" in capsys.readouterr().err
    run(reported([old.key_id, new_id]))
    assert main(retire) == 0
    assert [key.key_id for key in trust.public_keys()] == [new_id]
